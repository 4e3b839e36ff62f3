#include "marks.h"

#include "base/buffer.h"
#include "postgres_sql.h"
#include "render.h"

char *ldx_pg_sql_inherit_marks(ldx_pg_attempt *attempt, const char *name, bool constraint) {
  const ldx_name relation = attempt->step->relation;
  const char *values[] = {relation.schema, name};
  PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_marks, 2, values, attempt->error);
  if (!r) return NULL;
  ldx_arena *arena = attempt->arena;
  char *table = ldx_pg_quote_name(arena, relation);
  char *index = ldx_pg_quote_identifier(arena, name);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  if (PQntuples(r) == 1) {
    if (*PQgetvalue(r, 0, 0) == 't')
      ldx_buffer_appendf(&b, ";\nALTER TABLE %s REPLICA IDENTITY USING INDEX %s", table, index);
    if (*PQgetvalue(r, 0, 1) == 't') ldx_buffer_appendf(&b, ";\nALTER TABLE %s CLUSTER ON %s", table, index);
    if (!PQgetisnull(r, 0, 2))
      ldx_buffer_appendf(&b, ";\nCOMMENT ON INDEX %s IS %s",
                         ldx_pg_quote_name(arena, (ldx_name){relation.schema, name}), PQgetvalue(r, 0, 2));
    if (constraint && !PQgetisnull(r, 0, 3))
      ldx_buffer_appendf(&b, ";\nCOMMENT ON CONSTRAINT %s ON %s IS %s", index, table, PQgetvalue(r, 0, 3));
  }
  PQclear(r);
  return ldx_arena_strdup(arena, ldx_buffer_string(&b));
}
