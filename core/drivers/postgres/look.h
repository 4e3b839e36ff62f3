/* look.h: what stands in the catalog under a name, and who is at it. */
#ifndef LUNADEX_POSTGRES_LOOK_H
#define LUNADEX_POSTGRES_LOOK_H

#include "session.h"

typedef struct ldx_pg_index_state {
  const char *relation; /* oid of the relation; NULL: missing */
  char relation_kind;
  const char *object; /* oid of whatever has the name; NULL: nothing */
  char object_kind;   /* pg_class.relkind */
  bool index;         /* it is an index */
  bool same_relation; /* of the relation */
  bool valid;
  const char *definition; /* CREATE INDEX …, to bring it back */
  int64_t builder;        /* somebody is at it; 0: nobody */
  char builder_who[512], builder_phase[96];
  const char *parent;     /* oid of the partitioned index it is attached to */
  const char *tablespace; /* NULL: the default one */
  ldx_options options;
} ldx_pg_index_state;

/* Fills *state (strings in `arena`) for what is called `name` in the schema of `relation`. */
bool ldx_pg_look_at_index(ldx_session *session, ldx_arena *arena, ldx_name relation, const char *name,
                          ldx_pg_index_state *state, ldx_error *error);

typedef struct ldx_pg_constraint_state {
  const char *relation; /* oid; NULL: missing */
  char relation_kind;
  char type; /* pg_constraint.contype; 0: there is no such constraint */
  bool validated;
  const char *definition;
  const char *other_primary_key;
  bool has_check, check_validated; /* LDX_PG_NOT_NULL_CHECK */
} ldx_pg_constraint_state;

/* The same for the constraint `name` of `relation`. */
bool ldx_pg_look_at_constraint(ldx_session *session, ldx_arena *arena, ldx_name relation, const char *name,
                               ldx_pg_constraint_state *state, ldx_error *error);

#endif
