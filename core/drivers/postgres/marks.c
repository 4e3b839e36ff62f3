#include "marks.h"

#include "base/buffer.h"
#include "postgres_sql.h"
#include "render.h"

char *ldx_pg_sql_inherit_marks(ldx_pg_attempt *attempt, const char *name, const char *heir) {
  const ldx_name relation = attempt->step->relation;
  const char *values[] = {relation.schema, name};
  PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_marks, 2, values, attempt->error);
  if (!r) return NULL;
  ldx_arena *arena = attempt->arena;
  char *table = ldx_pg_quote_name(arena, relation);
  char *index = ldx_pg_quote_identifier(arena, heir);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  if (PQntuples(r) == 1) {
    if (*PQgetvalue(r, 0, 0) == 't')
      ldx_buffer_appendf(&b, ";\nALTER TABLE %s REPLICA IDENTITY USING INDEX %s", table, index);
    if (*PQgetvalue(r, 0, 1) == 't') ldx_buffer_appendf(&b, ";\nALTER TABLE %s CLUSTER ON %s", table, index);
    if (!PQgetisnull(r, 0, 2))
      ldx_buffer_appendf(&b, ";\nCOMMENT ON INDEX %s IS %s",
                         ldx_pg_quote_name(arena, (ldx_name){relation.schema, heir}), PQgetvalue(r, 0, 2));
  }
  PQclear(r);
  return ldx_arena_strdup(arena, ldx_buffer_string(&b));
}
