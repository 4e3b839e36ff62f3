/* look.h: what stands in the catalog under a name, and who is at it. */
#ifndef LUNADEX_POSTGRES_LOOK_H
#define LUNADEX_POSTGRES_LOOK_H

#include "session.h"

/* How to look. For the text of a definition the server locks its table, if only against ACCESS EXCLUSIVE: a look may have
 * to wait for somebody, and then is watched, cancelled and ended like any statement of a step. */
typedef struct ldx_pg_look {
  ldx_session *session;
  ldx_arena *arena;     /* for strings */
  ldx_context *context; /* NULL: nobody hears of it, and it is not cancelled */
  double limit;         /* seconds; 0: none but the context's */
} ldx_pg_look;

typedef struct ldx_pg_index_state {
  const char *relation; /* oid of the relation; NULL: missing */
  char relation_kind;
  const char *object; /* oid of whatever has the name; NULL: nothing */
  char object_kind;   /* pg_class.relkind */
  bool index;         /* it is an index */
  bool same_relation; /* of the relation */
  bool valid;
  const char *definition; /* CREATE INDEX … */
  const char *tablespace; /* quoted; NULL: the database's */
  int64_t builder;        /* somebody is at it; 0: nobody */
  char builder_who[512], builder_phase[96];
  const char *parent; /* oid of the partitioned index it is attached to */
  ldx_options options;
} ldx_pg_index_state;

/* Fills *state for what is called `name` in the schema of `relation`. */
bool ldx_pg_look_at_index(const ldx_pg_look *look, ldx_name relation, const char *name, ldx_pg_index_state *state,
                          ldx_error *error);

typedef struct ldx_pg_constraint_state {
  const char *relation; /* oid; NULL: missing */
  char relation_kind;
  const char *object; /* oid of the constraint; NULL: there is none of that name */
  char type;          /* pg_constraint.contype; 0: likewise */
  bool validated;
  const char *definition;
  const char *tablespace; /* of its index, quoted; NULL: the database's, or it has none */
  const char *other_primary_key;
  bool has_check, check_validated; /* LDX_PG_NOT_NULL_CHECK */
} ldx_pg_constraint_state;

/* The same for the constraint `name` of `relation`. */
bool ldx_pg_look_at_constraint(const ldx_pg_look *look, ldx_name relation, const char *name,
                               ldx_pg_constraint_state *state, ldx_error *error);

/* `statement`, which makes an index, as what makes it in its tablespace: the texts that the server has of indexes and
 * constraints do not say where they are. */
const char *ldx_pg_in_tablespace(ldx_arena *arena, const char *tablespace, const char *statement);

#endif
