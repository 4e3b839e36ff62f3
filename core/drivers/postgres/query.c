/* query.c: statements of scripts, and results as typed text. */
#include <string.h>

#include "driver_parts.h"
#include "session.h"

/* From pg_type.dat; numbers of built-in types never change. */
static char type_letter(Oid type) {
  switch (type) {
  case 16:
    return 'b'; /* bool */
  case 20:
  case 21:
  case 23:
  case 26:
    return 'i'; /* int8, int2, int4, oid */
  case 700:
  case 701:
  case 1700:
    return 'n'; /* float4, float8, numeric */
  default:
    return 's';
  }
}

ldx_result *ldx_pg_result_copy(ldx_arena *arena, PGresult *r) {
  ldx_result *result = LDX_ARENA_NEW(arena, ldx_result, 1);
  size_t columns = (size_t)PQnfields(r), rows = (size_t)PQntuples(r);
  result->column_count = columns;
  result->row_count = rows;
  result->columns = LDX_ARENA_NEW(arena, const char *, columns + 1);
  result->types = LDX_ARENA_NEW(arena, char, columns + 1);
  result->values = LDX_ARENA_NEW(arena, const char *, columns *rows + 1);
  result->command = ldx_arena_strdup(arena, PQcmdStatus(r));
  for (size_t c = 0; c < columns; c++) {
    result->columns[c] = ldx_arena_strdup(arena, PQfname(r, (int)c));
    result->types[c] = type_letter(PQftype(r, (int)c));
  }
  for (size_t i = 0; i < rows; i++)
    for (size_t c = 0; c < columns; c++)
      if (!PQgetisnull(r, (int)i, (int)c))
        result->values[i * columns + c] =
            ldx_arena_strndup(arena, PQgetvalue(r, (int)i, (int)c), (size_t)PQgetlength(r, (int)i, (int)c));
  return result;
}

ldx_result *ldx_pg_query(ldx_session *session, ldx_arena *arena, const char *text, const char *const *parameters,
                         size_t parameter_count, ldx_error *error) {
  PGresult *r = parameter_count ? ldx_pg_exec_params(session, text, (int)parameter_count, parameters, error)
                                : ldx_pg_exec(session, text, error);
  PGTransactionStatusType status = PQtransactionStatus(ldx_pg_connection(session));
  if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) {
    /* Sessions are shared by jobs: the next call could come to another one, or this one be given a build. */
    ldx_pg_rollback(session);
    if (r) ldx_error_set(error, LDX_ERROR_USAGE, "a transaction was left open and has been rolled back");
    if (r) ldx_error_hint(error, "Give all statements of a transaction, with BEGIN and COMMIT, in one text.");
    PQclear(r);
    return NULL;
  }
  if (!r) return NULL;
  ldx_result *result = ldx_pg_result_copy(arena, r);
  PQclear(r);
  return result;
}
