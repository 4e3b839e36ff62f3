/* index.h: what an index, or a key, *is*. One model for declared and live ones.
 *
 * A definition does not hold the index's name: the diff matches by definition, never by name (row C).
 * Strings are borrowed from the arena of whoever made the definition (a declaration set or a catalog) and live as long.
 */
#ifndef LUNADEX_INDEX_H
#define LUNADEX_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lunadex/arena.h"

typedef enum ldx_kind {
  LDX_KIND_INDEX,
  LDX_KIND_UNIQUE,      /* unique constraint */
  LDX_KIND_PRIMARY_KEY, /* primary key constraint */
  LDX_KIND_EXCLUSION,   /* exclusion constraint */
  LDX_KIND_FOREIGN_KEY,
} ldx_kind;

/* "index", "unique_constraint", "primary_key", "exclusion_constraint", "foreign_key": the registry's words. */
const char *ldx_kind_name(ldx_kind kind);
bool ldx_kind_parse(const char *name, ldx_kind *kind);

/* Schema is NULL when a declaration leaves it to the search path, and for databases without schemas. */
typedef struct ldx_name {
  const char *schema;
  const char *name;
} ldx_name;

typedef struct ldx_option {
  const char *name;
  const char *value; /* as the server keeps it: "70", "on" */
} ldx_option;

/* Whether it is the same option and its values mean the same: a boolean may be spelt in many ways. */
bool ldx_option_equal(const ldx_option *a, const ldx_option *b);

typedef struct ldx_options {
  size_t count;
  ldx_option *items;
} ldx_options;

typedef struct ldx_strings {
  size_t count;
  const char **items;
} ldx_strings;

typedef struct ldx_key {
  const char *column;     /* a column's (or field's) exact name, or NULL for an expression */
  const char *expression; /* the dialect's text, without outer parentheses of its own, or NULL */
  const char *opclass;    /* SQL name, quoted and qualified where it has to be; NULL: the type's default. MongoDB: what
                             the key pattern holds where it is neither 1 nor -1: "text", "hashed", "2dsphere", "2" */
  ldx_options opclass_options;
  const char *collation; /* SQL name like opclass; NULL: the column's or expression's own */
  const char *operator;  /* exclusion constraints: SQL operator, "&&" or "OPERATOR(schema.&&)" */
  bool descending;
  bool nulls_first; /* always set explicitly: PostgreSQL's default is = descending */
} ldx_key;

typedef struct ldx_definition {
  ldx_kind kind;
  ldx_name relation;
  const char *method; /* "btree", "gin" …; never NULL for index-like kinds; "": the database has no methods */
  size_t key_count;
  ldx_key *keys;
  ldx_strings include;
  const char *predicate;      /* the dialect's text, without WHERE; NULL if none. MongoDB: the filter as JSON */
  const char *predicate_form; /* what is compared instead of it, where texts that mean the same differ; else NULL */
  bool unique;                /* also set for LDX_KIND_UNIQUE and LDX_KIND_PRIMARY_KEY */
  bool nulls_not_distinct;
  bool without_overlaps; /* PostgreSQL 18: the last key of a unique or primary key is WITHOUT OVERLAPS;
                            of a foreign key: PERIOD */
  ldx_options traits;    /* what else makes two indexes of MongoDB different ones: sparse, collation,
                          wildcardProjection. Values are JSON in the driver's normal form */
  ldx_options storage; /* WITH (…), in the order given; not part of the fingerprint unless only a rebuild changes it.
                          MongoDB: the other options, likewise JSON: expireAfterSeconds, hidden, weights … */
  const char *tablespace; /* NULL: the default one, or not declared */

  /* constraints */
  bool deferrable;
  bool initially_deferred;
  bool not_enforced; /* PostgreSQL 18 */

  /* foreign keys */
  ldx_name references;
  ldx_strings references_columns; /* empty: the primary key of the referenced relation */
  const char *on_update;          /* "no action" (never NULL), "restrict", "cascade", "set null", "set default" */
  const char *on_delete;
  ldx_strings on_delete_columns; /* SET NULL / SET DEFAULT (columns), PostgreSQL 15 */
  const char *match;             /* "simple" or "full" */
} ldx_definition;

typedef struct ldx_fingerprint {
  uint64_t high, low;
} ldx_fingerprint;

bool ldx_fingerprint_equal(ldx_fingerprint a, ldx_fingerprint b);

/* Of bytes, whatever they say: equal on every machine, and for as long as nobody changes this. */
ldx_fingerprint ldx_fingerprint_of(const void *bytes, size_t size);

/* The fingerprint of a definition as it stands: the caller brings it into the driver's canonical form first.
 * Excluded: relation, tablespace and those storage options that can be altered in place. */
ldx_fingerprint ldx_definition_fingerprint(const ldx_definition *definition);
/* The fingerprint of the plain unique index that a unique constraint or primary key is made of, or could be. */
ldx_fingerprint ldx_definition_index_fingerprint(const ldx_definition *key);

/* Whether the parts outside the fingerprint agree: storage options (in any order, booleans however spelt), and the
 * tablespace if `declared` names one. */
bool ldx_definition_storage_equal(const ldx_definition *declared, const ldx_definition *live);

/* Whether an index, unique constraint or primary key lets every value in but once. */
bool ldx_definition_is_unique(const ldx_definition *definition);

/* Deep copies into `arena`. */
void ldx_strings_copy(ldx_arena *arena, ldx_strings *to, const ldx_strings *from);
void ldx_definition_copy(ldx_arena *arena, ldx_definition *to, const ldx_definition *from);

/* One line for people in the words of SQL, without name and relation:
 * `UNIQUE btree (lower(email), at DESC) INCLUDE (x) WHERE …`, `PRIMARY KEY (id)`, `FOREIGN KEY (a) REFERENCES public.b (id) ON DELETE CASCADE`. Allocated in `arena`. */
char *ldx_definition_text(ldx_arena *arena, const ldx_definition *definition);

#endif
