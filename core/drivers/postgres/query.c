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

/* --- transactions --------------------------------------------------------------------------------------------------- */

/* What is sent for a transition: its statements, and those that end and begin between them. */
typedef struct plan {
  ldx_pg_request *requests;
  PGresult **results;
  size_t count, done;
  size_t own;    /* so many of them are ours: */
  size_t before; /* the statements that come before these */
} plan;

static void add(plan *p, const char *sql) {
  p->requests[p->count++] = (ldx_pg_request){.sql = sql};
  p->own++;
}

static bool add_statements(plan *p, const ldx_statement *statements, size_t count, ldx_arena *arena, ldx_error *error) {
  for (size_t i = 0; i < count; i++) {
    const char **values = parameters_of(arena, &statements[i], error);
    if (!values) return false;
    p->requests[p->count++] =
        (ldx_pg_request){.sql = statements[i].text, .count = (int)statements[i].parameter_count, .values = values};
  }
  return true;
}

static bool make_plan(plan *p, const ldx_session *session, const ldx_transition *t, ldx_arena *arena,
                      ldx_error *error) {
  enum { OURS = 3 };
  p->requests = LDX_ARENA_NEW(arena, ldx_pg_request, t->count + OURS);
  p->results = LDX_ARENA_NEW(arena, PGresult *, t->count + OURS);
  p->before = t->last;
  if (!add_statements(p, t->statements, p->before, arena, error)) return false;
  if (t->what == LDX_TRANSACTION_ROLLBACK) add(p, "ROLLBACK");
  if (ldx_transaction_commits(t->what)) add(p, "COMMIT");
  if (ldx_transaction_begins(t->what)) {
    add(p, session->read_only ? "BEGIN READ ONLY" : "BEGIN");
    /* Once it has seen something, it cannot be made one that writes. */
    if (session->read_only) add(p, "SELECT");
  }
  return add_statements(p, t->statements + p->before, t->count - p->before, arena, error);
}

/* Whether it was, as far as the server has said. A transaction that had failed is rolled back by COMMIT. */
static bool is_committed(const plan *p, ldx_error *error) {
  if (p->done <= p->before) return false;
  if (!strcmp(PQcmdStatus(p->results[p->before]), "COMMIT")) return true;
  return ldx_error_set(error, LDX_ERROR_USAGE, "the transaction was rolled back, for one of its statements had failed");
}

static void take_results(plan *p, ldx_transition *t, ldx_arena *arena) {
  t->results = LDX_ARENA_NEW(arena, ldx_result *, t->count + 1);
  for (size_t i = 0; i < p->done; i++) {
    bool ours = i >= p->before && i < p->before + p->own;
    if (!ours) t->results[t->done++] = ldx_pg_result_copy(arena, p->results[i]);
    PQclear(p->results[i]);
  }
}

static bool transact(ldx_session *session, ldx_transition *t, ldx_arena *arena, ldx_error *error) {
  bool gone = ended_by_itself(session, error);
  session->transacts = false;
  plan p = {0};
  if (gone || !make_plan(&p, session, t, arena, error)) return false;
  bool commits = ldx_transaction_commits(t->what);
  bool ok = ldx_pg_exec_all(session, p.requests, p.count, p.results, &p.done, error);
  t->committed = commits && is_committed(&p, error);
  bool doubtful = commits && !t->committed;
  if (!ok)
    hint(doubtful ? "It may have been committed: look before it is repeated."
                  : "Nothing that the transaction said was done.",
         error);
  ok = ok && !doubtful;
  take_results(&p, t, arena);
  session->transacts = ok && ldx_transaction_begins(t->what);
  return ok;
}

bool ldx_pg_transact(ldx_session *session, ldx_transition *transition, ldx_context *context, ldx_arena *arena,
                     ldx_error *error) {
  ldx_pg_listen(session, context);
  bool ok = transact(session, transition, arena, error);
  if (!ok) ldx_pg_rollback(session);
  ldx_pg_listen(session, NULL);
  return ok;
}
