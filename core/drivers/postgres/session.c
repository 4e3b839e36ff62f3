/* session.c: statements over one connection.
 *
 * A statement is sent, then the socket is watched in ticks, so that a cancelled run is noticed while the server works.
 * After a cancel request the results are still drained: the server may have finished first, and a connection with an
 * unread result could not be used for cleaning up.
 */
#include "session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

enum { TICK_MS = 50 };
/* Seconds between cancel requests: one may come too early, between two statements of one text. */
static const double cancel_interval = 1.0;
/* A server that has not answered a cancel request after so long is taken for lost. */
static const double cancel_patience = 60.0;

PGconn *ldx_pg_connection(ldx_session *session) {
  return session->connection;
}
int ldx_pg_version(const ldx_session *session) {
  return session->info.version_number;
}
const ldx_server_info *ldx_pg_info(const ldx_session *session) {
  return &session->info;
}

bool ldx_pg_alive(ldx_session *session) {
  if (PQstatus(session->connection) != CONNECTION_OK) return false;
  /* A server that closed the connection while we were idle has said so on the socket: why first, which reads like any
   * notice, and then its end. */
  for (;;) {
    struct pollfd fd = {.fd = PQsocket(session->connection), .events = POLLIN};
    if (fd.fd < 0) return false;
    if (poll(&fd, 1, 0) <= 0) break;
    if (!PQconsumeInput(session->connection)) return false;
    while (!PQisBusy(session->connection)) {
      PGresult *result = PQgetResult(session->connection);
      if (!result) break;
      PQclear(result);
    }
  }
  return PQstatus(session->connection) == CONNECTION_OK;
}

void ldx_pg_listen(ldx_session *session, ldx_context *context) {
  session->context = context;
}

void ldx_pg_hear(void *session, const PGresult *notice) {
  ldx_context *context = ((ldx_session *)session)->context;
  ldx_notice it = {
      .severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED),
      .native = PQresultErrorField(notice, PG_DIAG_SQLSTATE),
      .message = PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY),
      .detail = PQresultErrorField(notice, PG_DIAG_MESSAGE_DETAIL),
      .hint = PQresultErrorField(notice, PG_DIAG_MESSAGE_HINT),
  };
  if (context && it.severity && it.message) ldx_context_notice(context, &it);
}

static void request_cancel(ldx_session *session) {
  char reason[256];
  if (session->cancel) PQcancel(session->cancel, reason, sizeof reason);
}

void ldx_pg_cancel(ldx_session *session) {
  atomic_store(&session->cancelled, true);
  request_cancel(session);
}

void ldx_pg_close(ldx_session *session) {
  if (!session) return;
  PQfreeCancel(session->cancel);
  PQfinish(session->connection);
  free(session);
}

/* Ends a COPY that the text of a user began: there is nobody to feed or to read it. */
static void end_copy(PGconn *connection, ExecStatusType status) {
  if (status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) PQputCopyEnd(connection, "no data: COPY needs a client");
  if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
    char *line;
    while (PQgetCopyData(connection, &line, 0) > 0) PQfreemem(line);
  }
}

/* Nothing more will be read from the link, and the next caller must not take it for usable. */
static void give_up(ldx_session *session) {
  shutdown(PQsocket(session->connection), SHUT_RDWR);
  PQconsumeInput(session->connection);
}

typedef enum asked { ASKED_NOTHING, ASKED_CANCELLED, ASKED_BUDGET, ASKED_LIMIT } asked;

/* Why the server should be told to stop, if it should. */
static asked stop_reason(ldx_context *context, double started, double limit) {
  if (context && ldx_context_cancelled(context)) return ASKED_CANCELLED;
  if (context && ldx_context_over_budget(context)) return ASKED_BUDGET;
  if (limit > 0 && ldx_clock_now() - started > limit) return ASKED_LIMIT;
  return ASKED_NOTHING;
}

/* Waits until PQgetResult does not block: a result is there, or the link is lost, which it then reports together with
 * what the server said last. False: the server does not even answer a cancel request. */
static bool wait_readable(ldx_session *session, ldx_context *context, double started, double limit, asked *asked_for,
                          double *asked_at, double *first_asked) {
  PGconn *connection = session->connection;
  while (PQisBusy(connection)) {
    asked reason = stop_reason(context, started, limit);
    double now = ldx_clock_now();
    if (context) ldx_context_waits(context);
    if (reason && now - *asked_at >= cancel_interval) {
      if (!*asked_for)
        *asked_for = reason, *first_asked = now;
      else if (reason == ASKED_CANCELLED)
        *asked_for = reason;
      *asked_at = now;
      request_cancel(session);
    }
    if (*asked_for && now - *first_asked > cancel_patience) return false;

    int pending = PQflush(connection);
    if (pending < 0) return true;
    struct pollfd fd = {.fd = PQsocket(connection), .events = (short)(pending ? POLLIN | POLLOUT : POLLIN)};
    if (fd.fd < 0) return true;
    int ready = poll(&fd, 1, context || limit > 0 ? TICK_MS : 1000);
    if (ready < 0 && errno != EINTR) return true;
    if (ready > 0 && !PQconsumeInput(connection)) return true;
  }
  return true;
}

/* What is sent: one statement with parameters, or, without, one or more. */
typedef struct request {
  const char *sql;
  int count;
  const char *const *values; /* NULL: no parameters */
  ldx_pg_each each;          /* NULL: the rows are kept */
  void *state;
  PGresult **results; /* of several, in pipeline mode; NULL: only the last one is kept */
  size_t *done;
} request;

/* Drains what a sent statement answers, or several do. The last result, which is the caller's unless it is one of
 * several. */
static PGresult *collect(ldx_session *session, ldx_context *context, const request *it, double limit,
                         ldx_error *error) {
  PGconn *connection = session->connection;
  PGresult *last = NULL;
  bool failed = false;
  asked asked_for = ASKED_NOTHING;
  double started = ldx_clock_now(), asked_at = -cancel_interval, first_asked = 0;

  for (;;) {
    if (!wait_readable(session, context, started, limit, &asked_for, &asked_at, &first_asked)) {
      if (!it->results) PQclear(last);
      if (!failed)
        ldx_error_set(error, LDX_ERROR_LINK_LOST, "the server did not answer a cancel request for %.0f s",
                      cancel_patience);
      give_up(session);
      return NULL;
    }
    PGresult *result = PQgetResult(connection);
    /* In pipeline mode each statement ends like that. */
    if (!result && it->results && PQstatus(connection) == CONNECTION_OK) continue;
    if (!result) break;
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) {
      PQclear(result);
      break;
    }
    if (failed) { /* the first error counts */
      PQclear(result);
    } else if (status == PGRES_SINGLE_TUPLE && it->each) {
      failed = !it->each(result, it->state, error);
      if (failed) request_cancel(session);
      PQclear(result);
    } else if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
      if (it->results)
        it->results[(*it->done)++] = result;
      else
        PQclear(last);
      last = result;
    } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
      failed = true;
      ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "COPY from or to the client is not possible here");
      end_copy(connection, status);
      PQclear(result);
    } else {
      failed = true;
      const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
      ldx_pg_error_from_result(session, result, error);
      bool cancelled = state && !strcmp(state, "57014");
      if (cancelled && !asked_for && atomic_load(&session->cancelled)) asked_for = ASKED_CANCELLED;
      if (cancelled && asked_for) {
        if (asked_for == ASKED_CANCELLED)
          ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
        else if (asked_for == ASKED_BUDGET)
          ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "the wait for other sessions exceeded its budget");
        else
          ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "not done after %.3g s", limit);
        if (asked_for == ASKED_BUDGET)
          ldx_error_hint(error, "`lunadex status` and pg_locks say which session holds the table.");
      }
      PQclear(result);
    }
  }
  if (!failed && !last) {
    ldx_pg_error_from_result(session, NULL, error);
    failed = true;
  }
  if (failed) {
    if (!it->results) PQclear(last);
    last = NULL;
  }
  return last;
}

/* A statement that never left is told apart from one that was lost under way: it can be sent again without a look. */
static PGresult *not_sent(ldx_session *session, ldx_error *error) {
  ldx_pg_error_from_result(session, NULL, error);
  if (error && PQstatus(session->connection) != CONNECTION_OK) error->code = LDX_ERROR_CONNECT;
  if (error) ldx_error_hint(error, "The connection was lost before the statement was sent.");
  return NULL;
}

static PGresult *send_and_collect(ldx_session *session, ldx_context *context, request it, double limit,
                                  ldx_error *error) {
  /* A caller that began a transaction of its own ends it itself: it may go back to a savepoint. */
  bool idle = PQtransactionStatus(session->connection) == PQTRANS_IDLE;
  atomic_store(&session->cancelled, false);
  int sent = it.values ? PQsendQueryParams(session->connection, it.sql, it.count, NULL, it.values, NULL, NULL, 0)
                       : PQsendQuery(session->connection, it.sql);
  if (!sent) return not_sent(session, error);
  if (it.each) PQsetSingleRowMode(session->connection);
  PGresult *result = collect(session, context, &it, limit, error);
  if (!result && idle) ldx_pg_rollback(session);
  return result;
}

static PGresult *run(ldx_session *session, ldx_context *context, request it, double limit, ldx_error *error) {
  if (context && ldx_context_cancelled(context)) {
    ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
    return NULL;
  }
  if (context) ldx_context_running(context, PQbackendPID(session->connection));
  PGresult *result = send_and_collect(session, context, it, limit, error);
  if (context) ldx_context_running(context, 0);
  return result;
}

PGresult *ldx_pg_exec(ldx_session *session, const char *sql, ldx_error *error) {
  return send_and_collect(session, NULL, (request){.sql = sql}, 0, error);
}

PGresult *ldx_pg_exec_params(ldx_session *session, const char *sql, int count, const char *const *values,
                             ldx_error *error) {
  return send_and_collect(session, NULL, (request){.sql = sql, .count = count, .values = values}, 0, error);
}

/* How many could be. */
static size_t send_all(PGconn *connection, const ldx_pg_request *requests, size_t count) {
  if (!PQenterPipelineMode(connection)) return 0;
  for (size_t i = 0; i < count; i++)
    if (!PQsendQueryParams(connection, requests[i].sql, requests[i].count, NULL, requests[i].values, NULL, NULL, 0))
      return i;
  return count;
}

bool ldx_pg_exec_all(ldx_session *session, const ldx_pg_request *requests, size_t count, PGresult **results,
                     size_t *done, ldx_error *error) {
  PGconn *connection = session->connection;
  *done = 0;
  atomic_store(&session->cancelled, false);
  size_t sent = send_all(connection, requests, count);
  bool synced = PQpipelineSync(connection), complete = synced && sent == count;
  if (!sent)
    not_sent(session, error);
  else if (!complete)
    ldx_pg_error_from_result(session, NULL, error);
  /* If one cannot be sent, those before it are answered nevertheless. */
  request all = {.results = results, .done = done};
  bool answered = synced && collect(session, NULL, &all, 0, complete ? error : NULL);
  if (answered && complete && *done < count) ldx_pg_error_from_result(session, NULL, error);
  /* What was left in it could not even be rolled back. */
  if (!PQexitPipelineMode(connection)) give_up(session);
  return answered && complete && *done == count;
}

PGresult *ldx_pg_run(ldx_session *session, ldx_context *context, const char *sql, double limit, ldx_error *error) {
  return run(session, context, (request){.sql = sql}, limit, error);
}

PGresult *ldx_pg_run_params(ldx_session *session, ldx_context *context, const char *sql, int count,
                            const char *const *values, double limit, ldx_error *error) {
  return run(session, context, (request){.sql = sql, .count = count, .values = values}, limit, error);
}

PGresult *ldx_pg_walk(ldx_session *session, ldx_context *context, const char *sql, int count, const char *const *values,
                      ldx_pg_each each, void *state, ldx_error *error) {
  request it = {.sql = sql, .count = count, .values = values, .each = each, .state = state};
  return run(session, context, it, 0, error);
}

bool ldx_pg_do(ldx_session *session, const char *sql, ldx_error *error) {
  PGresult *result = ldx_pg_exec(session, sql, error);
  PQclear(result);
  return result != NULL;
}

void ldx_pg_rollback(ldx_session *session) {
  PGTransactionStatusType status = PQtransactionStatus(session->connection);
  if (status != PQTRANS_INTRANS && status != PQTRANS_INERROR) return;
  if (PQsendQuery(session->connection, "ROLLBACK")) PQclear(collect(session, NULL, &(request){0}, 0, NULL));
}
