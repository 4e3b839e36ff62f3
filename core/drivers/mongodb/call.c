#include "call.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aside.h"
#include "base/clock.h"
#include "who.h"

/* Seconds: between looks at whether the run is to stop; and without an answer, after it was told to. */
static const double tick = 0.1, stop_patience = 10;
/* The part of the session's patience after which an answer is taken for lost that the server must have given: a large one
 * may take its time on the way. */
static const double lost_after = 1 / 3.0;

typedef struct call {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool over, left; /* under the mutex */
  /* The thread's until it is over, and for good once it is left. */
  mongoc_client_t *client;
  mongoc_read_prefs_t *preferences;
  char *database;
  bson_t command, options, reply;
  mongoc_client_session_t *transaction; /* what is to be ended instead of a command */
  bool commit;
  bson_error_t reason;
  bool ok;
} call;

static void call_free(call *c) {
  pthread_mutex_destroy(&c->mutex);
  pthread_cond_destroy(&c->changed);
  ldx_mongoc.read_prefs_destroy(c->preferences);
  bson_free(c->database);
  bson_destroy(&c->command);
  bson_destroy(&c->options);
  bson_destroy(&c->reply);
  free(c);
}

static call *call_new(ldx_session *session) {
  call *c = aligned_alloc(_Alignof(call), sizeof *c);
  if (!c) abort(); /* as the arena does */
  *c = (call){.client = session->client};
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&c->mutex, NULL);
  pthread_cond_init(&c->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  bson_init(&c->command);
  bson_init(&c->options);
  bson_init(&c->reply);
  return c;
}

static call *command_new(ldx_session *session, uint32_t server, const char *database, const bson_t *command) {
  call *c = call_new(session);
  if (session->preferences) c->preferences = ldx_mongoc.read_prefs_copy(session->preferences);
  c->database = bson_strdup(database);
  bson_concat(&c->command, command);
  BSON_APPEND_INT32(&c->options, "serverId", (int32_t)server);
  if (session->transaction) ldx_mongoc.client_session_append(session->transaction, &c->options, NULL);
  return c;
}

static bool do_it(call *c) {
  if (c->transaction && !c->commit) return ldx_mongoc.client_session_abort_transaction(c->transaction, &c->reason);
  bson_destroy(&c->reply);
  if (c->transaction) return ldx_mongoc.client_session_commit_transaction(c->transaction, &c->reply, &c->reason);
  return ldx_mongoc.client_command_with_opts(c->client, c->database, &c->command, c->preferences, &c->options,
                                             &c->reply, &c->reason);
}

static void leave(call *c) {
  if (c->transaction) {
    /* Without a word to the server. */
    ldx_mongoc.client_reset(c->client);
    ldx_mongoc.client_session_destroy(c->transaction);
  }
  ldx_mongo_client_free(c->client);
  call_free(c);
}

static void *run(void *the_call) {
  call *c = the_call;
  pthread_setname_np(pthread_self(), "ldx command");
  bool ok = do_it(c);
  pthread_mutex_lock(&c->mutex);
  c->ok = ok;
  c->over = true;
  bool left = c->left;
  pthread_cond_signal(&c->changed);
  pthread_mutex_unlock(&c->mutex);
  if (left) leave(c);
  return NULL;
}

/* --- whether anybody is at it ------------------------------------------------------------------------------------------ */

/* What is known of the server during a call. */
typedef struct pulse {
  double looked; /* when it was last asked */
  double heard;  /* when it last gave a sign of life */
  bool silent;   /* since then it has been asked in vain */
  double unseen; /* since when it has not been seen at the command; 0: it was, or cannot be */
} pulse;

static bool is_to_stop(ldx_session *session) {
  return atomic_load(&session->cancelled) || (session->context && ldx_context_cancelled(session->context)) ||
         (session->stop && atomic_load(session->stop));
}

static void hear(ldx_session *session, pulse *p) {
  if (session->context) ldx_context_silence(session->context, 0);
  *p = (pulse){.looked = ldx_clock_now(), .heard = ldx_clock_now(), .unseen = p->unseen};
}

static void look(ldx_session *session, bool tagged, pulse *p) {
  ldx_mongo_activity activity;
  ldx_error error;
  ldx_error_clear(&error);
  bool ok = ldx_mongo_look_around(session, true, &activity, &error), seen = false;
  for (size_t i = 0; i < activity.count; i++)
    if (!activity.items[i].worker && activity.items[i].number == session->number) seen = true;
  ldx_mongo_activity_free(&activity);
  if (!ok && !error.native[0]) {
    p->looked = ldx_clock_now();
    p->silent = true;
    if (session->context) ldx_context_silence(session->context, p->looked - p->heard);
    return;
  }
  hear(session, p);
  /* A router does not show what it does itself, and without a primary it may be another member that was asked. */
  bool would_show = ok && tagged && !session->sharded && !session->preferences;
  if (seen || !would_show)
    p->unseen = 0;
  else if (p->unseen == 0)
    p->unseen = p->looked;
}

/* Whether to wait on; called at every tick. */
static bool goes_on(ldx_session *session, bool tagged, pulse *p, ldx_error *error) {
  if (ldx_clock_now() - p->looked >= ldx_mongo_aside_timeout(session)) look(session, tagged, p);
  double silence = p->silent ? ldx_clock_now() - p->heard : 0;
  if (p->unseen > 0 && p->looked - p->unseen >= session->patience * lost_after)
    return ldx_error_set(error, LDX_ERROR_LINK_LOST, "the server has ended the command, and its answer was lost");
  if (silence < session->patience && (silence < stop_patience || !is_to_stop(session))) return true;
  return ldx_error_set(error, LDX_ERROR_LINK_LOST, "the server has not answered for %.0f s", silence);
}

/* --- calling ------------------------------------------------------------------------------------------------------------ */

/* False: it was left, and `c` is not ours any more. */
static bool wait_for(ldx_session *session, call *c, bool tagged, ldx_error *error) {
  pulse p = {.looked = ldx_clock_now(), .heard = ldx_clock_now()};
  double begun = ldx_clock_now();
  bool waiting = true;
  pthread_mutex_lock(&c->mutex);
  while (!c->over && waiting) {
    struct timespec until = ldx_clock_deadline(tick);
    pthread_cond_timedwait(&c->changed, &c->mutex, &until);
    if (c->over) break;
    pthread_mutex_unlock(&c->mutex);
    waiting = goes_on(session, tagged, &p, error);
    /* It has no comment by which it could be seen, and is short. */
    if (waiting && c->transaction && ldx_clock_now() - begun >= session->patience)
      waiting = ldx_error_set(error, LDX_ERROR_LINK_LOST, "the end of the transaction was not answered for %.0f s",
                              session->patience);
    pthread_mutex_lock(&c->mutex);
  }
  bool over = c->over;
  if (over) hear(session, &p);
  c->left = !over;
  if (!over) session->client = NULL;
  pthread_mutex_unlock(&c->mutex);
  return over;
}

static bool make(ldx_session *session, call *c, bool tagged, bson_t *reply, ldx_error *error) {
  ldx_error own;
  pthread_t thread;
  ldx_error_clear(&own);
  int failed = pthread_create(&thread, NULL, run, c);
  if (failed) {
    call_free(c);
    bson_init(reply);
    return ldx_error_set(error, LDX_ERROR_INTERNAL, "cannot start a thread: %s", strerror(failed));
  }
  if (!wait_for(session, c, tagged, &own)) {
    pthread_detach(thread);
    ldx_error_hint(&own, "The server may still be at it; the next attempt looks at the catalog first.");
    if (error) *error = own;
    bson_init(reply);
    return false;
  }
  pthread_join(thread, NULL);
  bool ok = c->ok;
  if (!ok) ldx_mongo_error(session, &c->reason, &c->reply, error);
  bson_steal(reply, &c->reply);
  bson_init(&c->reply);
  call_free(c);
  return ok;
}

bool ldx_mongo_call(ldx_session *session, uint32_t server, const char *database, const bson_t *command, bool tagged,
                    bson_t *reply, ldx_error *error) {
  return make(session, command_new(session, server, database, command), tagged, reply, error);
}

bool ldx_mongo_call_end(ldx_session *session, bool commit, ldx_error *error) {
  bson_t reply;
  mongoc_client_session_t *transaction = session->transaction;
  call *c = call_new(session);
  c->transaction = transaction;
  c->commit = commit;
  session->transaction = NULL;
  bool ok = make(session, c, false, &reply, error);
  bson_destroy(&reply);
  if (session->client) ldx_mongoc.client_session_destroy(transaction); /* else it was left with the call */
  if (!ok && commit && error && error->code == LDX_ERROR_LINK_LOST)
    ldx_error_hint(error, "It may have been committed: look at what it was to change before it is done again.");
  return ok;
}
