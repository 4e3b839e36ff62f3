/* catalog.h: what is live in a database, read in one go into one arena and immutable afterwards.
 * Reading threads may share it; whoever holds the last reference frees it.
 */
#ifndef LUNADEX_CATALOG_H
#define LUNADEX_CATALOG_H

#include "lunadex/arena.h"
#include "lunadex/index.h"

typedef struct ldx_catalog ldx_catalog;
typedef struct ldx_relation ldx_relation;
typedef struct ldx_live ldx_live;

/* PostgreSQL: NOT NULL … NO INHERIT. A primary key's columns need one that is inherited, here and in all below. */
typedef struct ldx_lone_not_null {
  const char *name;
  const ldx_relation *relation;
} ldx_lone_not_null;

typedef struct ldx_column {
  const char *name;
  uint32_t type;      /* the driver's own number */
  uint32_t base;      /* likewise: the type below its domains, or `type` itself */
  uint32_t collation; /* likewise; 0: the type has none */
  bool not_null;
  bool never_null;               /* or a domain says so, and it is known to hold of all rows */
  const ldx_lone_not_null *lone; /* one of its own, or of a relation that inherits it; NULL: there is none */
} ldx_column;

struct ldx_relation {
  ldx_name name;       /* schema always set where the database has schemas */
  const char *display; /* how to write it: public.orders, public."odd.name" */
  const char *space;   /* within what the names of its indexes are unique: its schema, or its own name */
  char kind;           /* 'r' table, 'p' partitioned, 'm' materialised view, 'f' foreign; 'c' collection, 't' of time
                          series, 'x' whose indexes may not be listed, 'v' view, '-' a collection that the first index will
                          make */
  bool extension_owned;
  bool partition;        /* is a partition of `parent` */
  bool odd_collation;    /* some column has another than the database's collation */
  bool capped;           /* MongoDB: so are the next three, JSON or NULL */
  const char *options;   /* how it has to be made where it is not there: capped, of time series …; NULL: just so */
  const char *collation; /* what its indexes have unless they say otherwise; NULL: they compare bytes */
  const char *shard_key; /* the key it is sharded by; NULL: it is not, or nobody may say */
  ldx_strings encrypted; /* MongoDB: paths of the fields that clients encrypt, and that the server knows of */
  uint32_t null_check;   /* PostgreSQL: the number of our check that a primary key's columns hold no null; 0: none */
  uint32_t id;
  size_t ordinal;          /* 0 … count - 1 */
  ldx_relation *parent;    /* of a partition */
  ldx_relation *detaching; /* PostgreSQL: what DETACH … CONCURRENTLY is about to take it from: it is none any more */
  ldx_relation *first_partition; /* children, linked by next_partition */
  ldx_relation *next_partition;
  ldx_relation *family; /* inheritance ties it to this one: see ldx_relation_family */
  double rows;          /* the server's estimate; -1 if it has none */
  double bytes;         /* estimate of the heap from pages; exact figures come from a measurement */
  size_t column_count;  /* in order of declaration, dropped ones left out */
  ldx_column *columns;
  size_t live_count;
  ldx_live **live; /* its indexes and keys, in order of name */
};

struct ldx_live {
  const char *name;
  ldx_relation *relation;
  ldx_definition *definition; /* canonical; its relation is not to be looked at, for others may have the same one */
  ldx_fingerprint fingerprint;
  size_t ordinal;         /* 0 … count - 1 */
  uint32_t id;            /* of the index; 0 for a foreign key */
  uint32_t constraint_id; /* 0 for a plain index */
  ldx_live *parent;       /* the partitioned index this one is attached to */
  double bytes;           /* estimate */
  bool valid;             /* usable by queries; a foreign key: validated */
  bool ready;             /* maintained by writes */
  bool live;              /* false: half-dropped */
  bool partitioned;       /* index of a partitioned relation */
  bool inherited;         /* comes with a parent's key or index; never declared or dropped alone */
  bool extension_owned;
  bool referenced; /* a foreign key relies on it, though no constraint owns it */
  bool replica_identity;
  bool clustered;
  const char *dependents; /* of a key: "view public.v, …" that would not let it go; NULL: none */
};

/* How definitions are told to people. */
typedef struct ldx_wording {
  char *(*text)(ldx_arena *arena, const ldx_definition *definition); /* one line, without name and relation */
  const char *predicate;                                             /* what it is called: "predicate" */
  const char *with_predicate, *without_predicate;                    /* "has WHERE", before its text; "has no WHERE" */
  const char *storage;                                               /* what its storage options are called */
  /* An option's value as short as it says the same. NULL: as it is. */
  const char *(*short_option)(ldx_arena *arena, const char *name, const char *value);
} ldx_wording;

/* What depends on the kind of database, for the diff. A driver has one, which lives for ever. */
typedef struct ldx_dialect {
  const char *name;        /* the driver's */
  bool names_in_relations; /* an index's name is only unique within its relation, not within the schema */
  /* Whether what the fingerprint leaves out can be made as declared in place. */
  bool (*can_alter)(const ldx_definition *declared, const ldx_live *live);
  /* Whether `live`, which is another definition, can be made the declared one in place; NULL: none can. */
  bool (*can_become)(const ldx_definition *declared, const ldx_live *live);
  bool finishes_builds;       /* what is not valid is being built, by the server itself if nobody else is at it */
  const ldx_wording *wording; /* NULL: SQL's */
} ldx_dialect;

/* References are counted; both are thread-safe. */
ldx_catalog *ldx_catalog_retain(ldx_catalog *catalog);
void ldx_catalog_release(ldx_catalog *catalog); /* NULL is fine */

size_t ldx_catalog_relation_count(const ldx_catalog *catalog);
ldx_relation *ldx_catalog_relation_at(const ldx_catalog *catalog, size_t i); /* in order of schema and name */
size_t ldx_catalog_live_count(const ldx_catalog *catalog);

/* By exact name; without schema the search path of the session decides. NULL if there is none. */
ldx_relation *ldx_catalog_relation(const ldx_catalog *catalog, ldx_name name);
/* The index, or key with an index, of that name in that schema, or other space where it is unique. */
ldx_live *ldx_catalog_live(const ldx_catalog *catalog, ldx_name name);
const ldx_dialect *ldx_catalog_dialect(const ldx_catalog *catalog);
/* Never NULL; `dialect` may be. */
const ldx_wording *ldx_dialect_wording(const ldx_dialect *dialect);
/* The names of the places an index can be put in; none where a database has no such thing. */
const ldx_strings *ldx_catalog_tablespaces(const ldx_catalog *catalog);
/* The one that stands for all that inheritance ties together, partitions left out; itself where there is no other. */
ldx_relation *ldx_relation_family(ldx_relation *relation);
const ldx_column *ldx_relation_column(const ldx_relation *relation, const char *name);

#endif
