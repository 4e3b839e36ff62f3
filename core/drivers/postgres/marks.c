#include "marks.h"

#include "base/buffer.h"
#include "postgres_sql.h"

static void append_marks(ldx_pg_attempt *attempt, ldx_buffer *b, const PGresult *r, int row, bool constraint) {
  enum { TABLE, SCHEMA, INDEX, IDENTITY, CLUSTERED, COMMENT, CONSTRAINT_COMMENT, STATISTICS };
  const char *table = PQgetvalue(r, row, TABLE), *index = PQgetvalue(r, row, INDEX);
  if (*PQgetvalue(r, row, IDENTITY) == 't')
    ldx_buffer_appendf(b, ";\nALTER TABLE %s REPLICA IDENTITY USING INDEX %s", table, index);
  const char *clustered = PQgetvalue(r, row, CLUSTERED);
  if (*clustered == 'y') ldx_buffer_appendf(b, ";\nALTER TABLE %s CLUSTER ON %s", table, index);
  if (*clustered == 'l')
    ldx_context_note(attempt->context,
                     "%s was clustered on %s; it is on none any more, for CLUSTER takes no partial index and not every "
                     "method",
                     table, index);
  if (!PQgetisnull(r, row, COMMENT))
    ldx_buffer_appendf(b, ";\nCOMMENT ON INDEX %s.%s IS %s", PQgetvalue(r, row, SCHEMA), index,
                       PQgetvalue(r, row, COMMENT));
  if (constraint && !PQgetisnull(r, row, CONSTRAINT_COMMENT))
    ldx_buffer_appendf(b, ";\nCOMMENT ON CONSTRAINT %s ON %s IS %s", index, table,
                       PQgetvalue(r, row, CONSTRAINT_COMMENT));
  if (!PQgetisnull(r, row, STATISTICS))
    ldx_buffer_appendf(b, ";\nALTER INDEX %s.%s %s", PQgetvalue(r, row, SCHEMA), index, PQgetvalue(r, row, STATISTICS));
}

char *ldx_pg_sql_inherit_marks(ldx_pg_attempt *attempt, const char *name, const char *heir, bool constraint) {
  const char *values[] = {attempt->step->relation.schema, name, heir};
  PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_marks, 3, values, attempt->error);
  if (!r) return NULL;
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  for (int row = 0; row < PQntuples(r); row++) append_marks(attempt, &b, r, row, constraint);
  PQclear(r);
  return ldx_arena_strdup(attempt->arena, ldx_buffer_string(&b));
}
