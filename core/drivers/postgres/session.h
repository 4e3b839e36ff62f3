/* session.h: one connection to a PostgreSQL server, for the files of this driver.
 *
 * A session belongs to one thread at a time (`ldx_driver.cancel` excepted). Every statement is sent, waited for on the
 * socket and drained; nothing here leaves a result behind, prints, or exits. Functions that take an `ldx_error *` fill
 * it and return NULL or false on failure.
 */
#ifndef LUNADEX_POSTGRES_SESSION_H
#define LUNADEX_POSTGRES_SESSION_H

#include <libpq-fe.h>
#include <stdatomic.h>

#include "lunadex/driver.h"

/* The connection itself, for what libpq offers beyond this header. It stays the session's. */
PGconn *ldx_pg_connection(ldx_session *session);
/* server_version_num: 150018. */
int ldx_pg_version(const ldx_session *session);
const ldx_server_info *ldx_pg_info(const ldx_session *session);

/* One text of one or more statements (simple query protocol). Returns the last statement's result, which the caller
 * clears; NULL after filling `error` as soon as one fails. A transaction that a failed text opened itself is rolled
 * back; one that was open before stays open, as the server leaves it. */
PGresult *ldx_pg_exec(ldx_session *session, const char *sql, ldx_error *error);
/* One statement with text parameters; `values` may hold NULL for null. */
PGresult *ldx_pg_exec_params(ldx_session *session, const char *sql, int count, const char *const *values,
                             ldx_error *error);
/* The same as ldx_pg_exec for a statement that may take long: `context` (may be NULL) is asked every tick, and when it
 * is cancelled or over its budget the server is told to cancel; so it is after `limit` seconds (0: none), which counts
 * as a lock timeout. Success wins: a statement that finished in spite of the cancel request has finished. While it
 * runs, the context knows the server's process. */
PGresult *ldx_pg_run(ldx_session *session, ldx_context *context, const char *sql, double limit, ldx_error *error);
PGresult *ldx_pg_run_params(ldx_session *session, ldx_context *context, const char *sql, int count,
                            const char *const *values, double limit, ldx_error *error);
/* The rows of a statement as they come: `each` is called with every one and stops the walk by returning false after filling
 * `error`. The result, the caller's, has the columns and no rows. `context` is as of ldx_pg_run. */
typedef bool (*ldx_pg_each)(const PGresult *row, void *state, ldx_error *error);
PGresult *ldx_pg_walk(ldx_session *session, ldx_context *context, const char *sql, int count, const char *const *values,
                      ldx_pg_each each, void *state, ldx_error *error);
/* Statements that are sent together, so that the server goes from one to the next without waiting for us. What follows
 * one that fails is left out. `results` has room for all; those of the first `*done` are the caller's, also on failure.
 * What their transaction has come to is the caller's, too. */
typedef struct ldx_pg_request {
  const char *sql; /* one statement */
  int count;
  const char *const *values;
} ldx_pg_request;
bool ldx_pg_exec_all(ldx_session *session, const ldx_pg_request *requests, size_t count, PGresult **results,
                     size_t *done, ldx_error *error);
/* Like ldx_pg_exec for a statement whose rows do not matter. */
bool ldx_pg_do(ldx_session *session, const char *sql, ldx_error *error);

/* From now on `context`, which may be NULL, is told what the server says beside results. */
void ldx_pg_listen(ldx_session *session, ldx_context *context);
/* For PQsetNoticeReceiver; the argument is the session. */
void ldx_pg_hear(void *session, const PGresult *notice);

/* Leaves no transaction open; errors of that are of no interest (the link is lost, and the next call says so). */
void ldx_pg_rollback(ldx_session *session);

/* --- error.c ------------------------------------------------------------------------------------------------------ */

/* SQLSTATE (may be NULL or "") → code. */
ldx_error_code ldx_pg_error_code(const char *sqlstate);
/* Fills `error` from a failed result; `result` may be NULL: then from the connection. */
void ldx_pg_error_from_result(ldx_session *session, const PGresult *result, ldx_error *error);
/* `text` on one line in `to`: runs of line breaks and tabs become "; " or a blank, a trailing one goes. */
void ldx_pg_one_line(char *to, size_t size, const char *text);

/* --- query.c ------------------------------------------------------------------------------------------------------ */

/* The rows of `r`, in the arena; `r` stays the caller's. */
ldx_result *ldx_pg_result_copy(ldx_arena *arena, const PGresult *r);

/* --- the functions of the driver, gathered in driver.c ------------------------------------------------------------- */

ldx_session *ldx_pg_open(const ldx_target *target, ldx_server_info *info, ldx_error *error);
void ldx_pg_close(ldx_session *session);
bool ldx_pg_alive(ldx_session *session);
/* From any thread, but not while another one opens or closes this session. */
void ldx_pg_cancel(ldx_session *session);

/* The struct itself is for session.c, connect.c, query.c and error.c. */
struct ldx_session {
  PGconn *connection;
  PGcancel *cancel;
  atomic_bool cancelled; /* by ldx_pg_cancel, since the last statement was sent */
  bool read_only;        /* the target's */
  bool transacts;        /* between begin and end of a transaction of a script's (query.c) */
  ldx_context *context;  /* of ldx_pg_listen */
  ldx_server_info info;
};

#endif
