/* diff.h: declared definitions against live ones. Pure: no server, no policy, no names in the join.
 *
 * A set of declarations is filled once, by one thread. Each run works on a copy of its own: a driver's `resolve` brings
 * its declarations into canonical form against a catalog (it may run on a worker while nobody else touches that copy);
 * `ldx_diff_make` joins the two.
 */
#ifndef LUNADEX_DIFF_H
#define LUNADEX_DIFF_H

#include "lunadex/catalog.h"
#include "lunadex/error.h"

typedef struct ldx_declared {
  const ldx_definition *definition; /* as declared: what a build is written from */
  const char *name;                 /* NULL: none given */
  const char *duplicate_of;         /* the name of the declaration it repeats on purpose; NULL: none */
  size_t twin;                      /* the latest declaration before it of the same definition on the same relation,
                                       both as they were written; SIZE_MAX: none. Set by ldx_declarations_find_twin */
  /* filled by resolve */
  ldx_relation *relation;          /* NULL: there is no such relation */
  const ldx_definition *canonical; /* as the server would keep it; may be that of a live index of the catalog */
  ldx_fingerprint fingerprint;
  bool resolved;    /* canonical and fingerprint are set */
  ldx_error *error; /* why it could not be resolved: unknown relation, column, function … (in the set's arena) */
} ldx_declared;

typedef struct ldx_declarations ldx_declarations;

ldx_declarations *ldx_declarations_new(void);
/* The same declarations, as yet unresolved. They go on living in `set`, which must outlive the copy. */
ldx_declarations *ldx_declarations_copy(const ldx_declarations *set);
void ldx_declarations_free(ldx_declarations *set);
ldx_arena *ldx_declarations_arena(ldx_declarations *set);
/* Of the database they were last resolved against; NULL: none yet. The engine sets it. */
void ldx_declarations_set_dialect(ldx_declarations *set, const ldx_dialect *dialect);
const ldx_dialect *ldx_declarations_dialect(const ldx_declarations *set);
/* Appends a zeroed entry; the pointer is good until the next call. */
ldx_declared *ldx_declarations_add(ldx_declarations *set);
/* To be called when the latest entry is filled, for each or for none: finds its twin among those before. */
void ldx_declarations_find_twin(ldx_declarations *set);
/* A relation the registry speaks of, with or without indexes: what else is live on it is stray. Copies the name. */
void ldx_declarations_add_relation(ldx_declarations *set, ldx_name relation);
size_t ldx_declarations_relation_count(const ldx_declarations *set);
ldx_name ldx_declarations_relation_at(const ldx_declarations *set, size_t i);
size_t ldx_declarations_count(const ldx_declarations *set);
ldx_declared *ldx_declarations_at(ldx_declarations *set, size_t i);

/* What the facts say. Policy (drop a stray? rename?) is the caller's. */
typedef enum ldx_action {
  LDX_ACTION_KEEP,
  LDX_ACTION_CREATE,
  LDX_ACTION_REPLACE, /* same name, other definition */
  LDX_ACTION_ALTER,   /* matches but for what can be changed in place: storage options, an unvalidated foreign key */
  LDX_ACTION_REBUILD, /* matches, but the live one is invalid; whether someone is building it, the caller finds out */
  LDX_ACTION_STRAY,   /* live, not declared, on a declared relation, and a plain index that could be dropped */
  LDX_ACTION_ERROR,   /* the declaration cannot be resolved: see `declared->error` */
} ldx_action;

const char *ldx_action_name(ldx_action action);

typedef struct ldx_change {
  ldx_action action;
  size_t ordinal;               /* of the declaration; SIZE_MAX for a stray */
  const ldx_declared *declared; /* NULL for a stray */
  ldx_live *live;               /* what it matches, replaces or strays; NULL for a create */
  const char *reason;           /* a short clause: "predicate differs: live has no WHERE"; "" for a plain keep */
  bool name_differs;            /* keep, alter, rebuild: matches by definition under another name */
  bool satisfied_by_key;        /* keep: a unique index declared, a unique constraint or primary key live */
  bool duplicate;               /* stray: repeats, by definition, a live index that is declared */
  bool use_existing;            /* create of a unique constraint or primary key: `live` is a stray unique index it can
                                  take over instead of building another */
} ldx_change;

typedef struct ldx_diff {
  size_t count;
  ldx_change *items;     /* declared ones in order of declaration, then strays in order of relation and name */
  size_t declared, live; /* totals: declarations; live indexes and declared-kind keys of declared relations */
  size_t by_action[LDX_ACTION_ERROR + 1];
  bool *taken; /* by live ordinal: some declaration's change has it */
} ldx_diff;

/* Results are allocated in `arena` and point into set and catalog. */
ldx_diff *ldx_diff_make(ldx_arena *arena, ldx_declarations *set, ldx_catalog *catalog);

/* An index over all rows of another one, which begins with its keys: what the one serves the other serves as well. */
typedef struct ldx_overlap {
  size_t ordinal; /* of the declaration */
  size_t other;   /* that of the one that begins with its keys; */
  ldx_live *live; /* or that is live and not declared */
} ldx_overlap;

typedef struct ldx_overlaps {
  size_t count;
  ldx_overlap *items; /* those of one declaration side by side, declared ones first, in order */
} ldx_overlaps;

/* The overlaps of declared indexes and keys with others of their relations, by the same method and with the same
 * predicate; backwards is as good as forwards. Foreign keys and exclusion constraints have none. Without a database
 * (`diff` and `catalog` NULL) only declarations count. In `arena`. */
ldx_overlaps *ldx_overlaps_find(ldx_arena *arena, ldx_declarations *set, const ldx_diff *diff,
                                const ldx_catalog *catalog);

#endif
