/* query.c: statements and transactions of scripts. */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "driver_parts.h"
#include "parse.h"
#include "session.h"
#include "value.h"

/* --- results -------------------------------------------------------------------------------------------------------- */

/* Without its rows. */
static ldx_result *heading(ldx_arena *arena, const PGresult *r) {
  ldx_result *result = LDX_ARENA_NEW(arena, ldx_result, 1);
  result->column_count = (size_t)PQnfields(r);
  result->columns = LDX_ARENA_NEW(arena, const char *, result->column_count + 1);
  for (size_t i = 0; i < result->column_count; i++) result->columns[i] = ldx_arena_strdup(arena, PQfname(r, (int)i));
  const char *changed = PQcmdTuples((PGresult *)r); /* which it does not change */
  result->affected = *changed ? strtoll(changed, NULL, 10) : -1;
  result->command = ldx_arena_strdup(arena, PQcmdStatus((PGresult *)r));
  return result;
}

static void copy_row(ldx_arena *arena, const PGresult *r, int row, ldx_value *to) {
  for (int i = 0; i < PQnfields(r); i++) to[i] = ldx_pg_value(arena, r, row, i);
}

ldx_result *ldx_pg_result_copy(ldx_arena *arena, const PGresult *r) {
  ldx_result *result = heading(arena, r);
  result->row_count = (size_t)PQntuples(r);
  result->values = LDX_ARENA_NEW(arena, ldx_value, result->column_count * result->row_count + 1);
  for (size_t i = 0; i < result->row_count; i++) copy_row(arena, r, (int)i, result->values + i * result->column_count);
  return result;
}

/* --- batches -------------------------------------------------------------------------------------------------------- */

typedef struct batch {
  ldx_context *context;
  size_t size;
  ldx_arena *arena; /* of the rows so far; NULL: none */
  ldx_result *rows;
} batch;

static bool add_row(const PGresult *r, void *state, ldx_error *error) {
  batch *b = state;
  if (!b->arena) {
    b->arena = ldx_arena_new();
    b->rows = heading(b->arena, r);
    b->rows->values = LDX_ARENA_NEW(b->arena, ldx_value, b->rows->column_count * b->size + 1);
  }
  copy_row(b->arena, r, 0, b->rows->values + b->rows->row_count++ * b->rows->column_count);
  if (b->rows->row_count < b->size) return true;
  ldx_arena *arena = b->arena;
  b->arena = NULL;
  return ldx_context_rows(b->context, arena, b->rows, error);
}

static PGresult *in_batches(ldx_session *session, const ldx_statement *statement, const char *const *parameters,
                            ldx_context *context, ldx_error *error) {
  batch b = {.context = context, .size = statement->batch};
  PGresult *r =
      ldx_pg_walk(session, NULL, statement->text, (int)statement->parameter_count, parameters, add_row, &b, error);
  if (!b.arena) return r;
  if (!r) {
    ldx_arena_free(b.arena);
  } else if (!ldx_context_rows(context, b.arena, b.rows, error)) {
    PQclear(r);
    r = NULL;
  }
  return r;
}

/* --- statements ----------------------------------------------------------------------------------------------------- */

static const char **parameters_of(ldx_arena *arena, const ldx_statement *statement, ldx_error *error) {
  const char **texts = LDX_ARENA_NEW(arena, const char *, statement->parameter_count + 1);
  for (size_t i = 0; i < statement->parameter_count; i++)
    if (!ldx_pg_parameter(arena, &statement->parameters[i], &texts[i], error)) return NULL;
  return texts;
}

static bool ended_by_itself(ldx_session *session, ldx_error *error) {
  if (!session->transacts || PQtransactionStatus(ldx_pg_connection(session)) != PQTRANS_IDLE) return false;
  ldx_error_set(error, LDX_ERROR_USAGE, "the transaction was ended by a statement of its own");
  ldx_error_hint(error, "It is committed when its function returns, and rolled back when that fails.");
  return true;
}

/* Sessions are shared by jobs: the next call could come to another one, or this one be given a build. */
static bool left_open(ldx_session *session, bool ok, ldx_error *error) {
  PGTransactionStatusType status = PQtransactionStatus(ldx_pg_connection(session));
  if (session->transacts || (status != PQTRANS_INTRANS && status != PQTRANS_INERROR)) return false;
  ldx_pg_rollback(session);
  if (!ok) return true;
  ldx_error_set(error, LDX_ERROR_USAGE, "a transaction was left open and has been rolled back");
  ldx_error_hint(error, "Use transaction, or give all its statements, with BEGIN and COMMIT, in one text.");
  return true;
}

/* On a session that only reads, each statement has a read-only transaction for itself, which is rolled back: whatever it
 * sets, or ends, the next one is no freer. The extended protocol takes no second one behind it. */
static PGresult *send(ldx_session *session, const ldx_statement *statement, const char **parameters,
                      ldx_context *context, ldx_error *error) {
  bool guarded = session->read_only && !session->transacts;
  if (guarded && !ldx_pg_do(session, "BEGIN READ ONLY", error)) return NULL;
  int count = (int)statement->parameter_count;
  PGresult *r = statement->batch              ? in_batches(session, statement, parameters, context, error)
                : count || session->read_only ? ldx_pg_exec_params(session, statement->text, count, parameters, error)
                                              : ldx_pg_exec(session, statement->text, error);
  if (!guarded) return r;
  static const char not_in_a_transaction[] = "25001";
  if (!r && error && !strcmp(error->native, not_in_a_transaction)) error->code = LDX_ERROR_READ_ONLY;
  ldx_pg_rollback(session);
  return r;
}

/* The server counts some statements among those that read, though they do what nobody expects of these. */
static bool may_run(const ldx_session *session, const char *text, ldx_error *error) {
  const char *burden = session->read_only ? ldx_pg_burdens(text) : NULL;
  if (!burden) return true;
  ldx_error_set(error, LDX_ERROR_READ_ONLY, "this connection only reads, and %s does more", burden);
  ldx_error_hint(error, "Open the connection without read_only.");
  return false;
}

/* What the server's words leave to be guessed: it speaks of messages of the protocol, which nobody has seen. */
static void explain(const ldx_session *session, const ldx_statement *statement, ldx_error *error) {
  static const char protocol_violation[] = "08P01", syntax_error[] = "42601";
  size_t count = statement->parameter_count;
  if (!error || error->hint[0]) return;
  if (!strcmp(error->native, protocol_violation))
    ldx_error_hint(error, "%s",
                   count ? "Where the last of a list is nil, its field n says how many there are: { 5, nil, n = 2 }."
                         : "What $1 stands for is the first of a list that is given with the text.");
  const char *only = count                ? "With parameters"
                     : statement->batch   ? "For its rows in batches"
                     : session->read_only ? "On a connection that only reads"
                                          : NULL;
  if (only && !strcmp(error->native, syntax_error) && ldx_pg_has_several(statement->text))
    ldx_error_hint(error, "%s a text has to be one statement: send them one by one.", only);
}

/* The hints of error.c are about steps, which look first; this may be about anything. */
static void hint(const char *lost, ldx_error *error) {
  if (!error) return;
  if (error->code == LDX_ERROR_PERMISSION) error->hint[0] = '\0';
  if (ldx_error_retry(error->code) == LDX_RETRY_VERIFY) ldx_error_hint(error, "%s", lost);
}

ldx_result *ldx_pg_query(ldx_session *session, const ldx_statement *statement, ldx_context *context, ldx_arena *arena,
                         ldx_error *error) {
  if (!statement->text) {
    ldx_error_set(error, LDX_ERROR_USAGE, "PostgreSQL takes a text of SQL");
    return NULL;
  }
  const char **parameters = parameters_of(arena, statement, error);
  if (!parameters || !may_run(session, statement->text, error) || ended_by_itself(session, error)) return NULL;
  ldx_pg_listen(session, context);
  PGresult *r = send(session, statement, parameters, context, error);
  ldx_pg_listen(session, NULL);
  if (!r) {
    hint(session->transacts ? "Nothing that the transaction said was done."
                            : "It may have been done: look before it is sent again.",
         error);
    explain(session, statement, error);
  }
  ldx_result *result = NULL;
  if (!left_open(session, r != NULL, error) && r && !ended_by_itself(session, error))
    result = ldx_pg_result_copy(arena, r);
  PQclear(r);
  return result;
}

/* As one text, it is one round trip; what fails in it leaves the rest of it out. */
static PGresult *say(ldx_session *session, ldx_transaction what, bool guarded, const char *text, ldx_error *error) {
  static const char *const statements[] = {
      [LDX_TRANSACTION_BEGIN] = "BEGIN", [LDX_TRANSACTION_COMMIT] = "COMMIT", [LDX_TRANSACTION_ROLLBACK] = "ROLLBACK"};
  const char *statement = guarded ? "BEGIN READ ONLY; SELECT" : statements[what];
  if (!text) return ldx_pg_exec(session, statement, error);
  bool begins = what == LDX_TRANSACTION_BEGIN;
  ldx_buffer sql;
  ldx_buffer_init(&sql, NULL);
  ldx_buffer_appendf(&sql, "%s; %s", begins ? statement : text, begins ? text : statement);
  PGresult *r = ldx_pg_exec(session, ldx_buffer_string(&sql), error);
  ldx_buffer_free(&sql);
  return r;
}

static PGresult *transact(ldx_session *session, ldx_transaction what, const char *text, ldx_error *error) {
  bool gone = ended_by_itself(session, error);
  session->transacts = false;
  if (gone) return NULL;
  /* Once it has seen something, it cannot be made one that writes. */
  bool guarded = session->read_only && what == LDX_TRANSACTION_BEGIN;
  PGresult *r = say(session, what, guarded, text, error);
  bool ok = r != NULL;
  if (!ok && what == LDX_TRANSACTION_COMMIT) hint("It may have been committed: look before it is repeated.", error);
  if (ok && what == LDX_TRANSACTION_COMMIT && strcmp(PQcmdStatus(r), "COMMIT") != 0)
    ok = ldx_error_set(error, LDX_ERROR_USAGE, "the transaction was rolled back, for one of its statements had failed");
  session->transacts = ok && what == LDX_TRANSACTION_BEGIN;
  if (ok) return r;
  PQclear(r);
  ldx_pg_rollback(session);
  return NULL;
}

ldx_result *ldx_pg_transact(ldx_session *session, ldx_transaction what, const char *text, ldx_context *context,
                            ldx_arena *arena, ldx_error *error) {
  ldx_pg_listen(session, context);
  PGresult *r = transact(session, what, text, error);
  ldx_pg_listen(session, NULL);
  ldx_result *result = r ? ldx_pg_result_copy(arena, r) : NULL;
  PQclear(r);
  return result;
}
