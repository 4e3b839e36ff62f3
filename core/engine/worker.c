/* worker.c: one thread, one session, one job at a time.
 *
 * A session is opened with the first job and given up when its link is lost, when there has been nothing to do for a
 * while, or when a cancel request was sent to it: nobody knows which statement a late request would hit. Who gets no
 * session leaves its job to those that have one: a server, or a role, may allow fewer than there are workers.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/internal.h"

/* A step hears through its context that it is to stop, and then asks the server itself; the request from here is for a
 * driver that sits in a call and does not look. Everything else has only this. Repeated, since a request that comes
 * between two statements hits nothing. */
static const double step_grace = 0.5;
static const double cancel_interval = 0.5;
/* Seconds: until a worker without a session tries again to get one; and until an idle one gives its own up. */
static const double bar = 5, idle_limit = 10;
/* What worked for so many seconds before its link was lost has not failed for the next time in a row. */
static const double long_attempt = 600;

static void set_session(seat *s, ldx_session *session) {
  pthread_mutex_lock(&s->mutex);
  s->session = session;
  s->cancel_sent = false;
  pthread_mutex_unlock(&s->mutex);
  pthread_mutex_lock(&s->engine->mutex);
  s->connected = session != NULL;
  if (session) s->session_number = ++s->engine->sessions;
  pthread_mutex_unlock(&s->engine->mutex);
}

void ldx_seat_close(seat *s) {
  ldx_session *session = s->session; /* only this thread changes it */
  if (!session) return;
  set_session(s, NULL);
  s->engine->driver->close(session);
}

bool ldx_seat_open(seat *s, ldx_error *error) {
  const ldx_driver *driver = s->engine->driver;
  pthread_mutex_lock(&s->mutex);
  bool doubtful = s->cancel_sent;
  pthread_mutex_unlock(&s->mutex);
  if (s->session && (doubtful || !driver->alive(s->session))) ldx_seat_close(s);
  if (s->session) return true;
  /* What comes after must not be done outside of it. */
  if (s->transacts) return ldx_error_set(error, LDX_ERROR_LINK_LOST, "the transaction ended with its connection");
  /* There is no session to cancel yet: connecting looks for itself. The context stays as long as this thread is in its
   * job; a watcher that only wants to look has none. */
  ldx_target target = s->engine->target;
  target.stop = s->context ? &s->context->cancelled : &s->engine->closing;
  /* Whoever asks for a connection is told what the server says to that, and not again with each session. */
  target.context = s->context && s->context->job->kind == LDX_JOB_CONNECT ? s->context : NULL;
  ldx_session *session = driver->open(&target, &s->info, error);
  if (!session) return false;
  s->info.driver = driver->name;
  set_session(s, session);
  return true;
}

void ldx_seat_begin(seat *s, ldx_context *context) {
  pthread_mutex_lock(&s->mutex);
  s->context = context;
  context->operation = 0;
  pthread_mutex_unlock(&s->mutex);
}

void ldx_seat_leave(seat *s) {
  pthread_mutex_lock(&s->mutex);
  s->context = NULL;
  pthread_mutex_unlock(&s->mutex);
}

void ldx_seat_end(seat *s, ldx_context *context) {
  ldx_engine *engine = s->engine;
  /* First out of the others' sight, then DONE: no event of the job comes after that. */
  ldx_seat_leave(s);
  pthread_mutex_lock(&engine->mutex);
  ldx_event_post_done(context);
  pthread_mutex_unlock(&engine->mutex);
}

void ldx_seat_cancel(seat *s) {
  ldx_context *context = s->context;
  if (!context || !s->session) return;
  if (!atomic_load(&context->cancelled) && !atomic_load(&context->over_budget)) return;
  double now = ldx_clock_now();
  if (context->job->kind == LDX_JOB_PERFORM) {
    if (!context->operation) return; /* between statements, or cleaning up */
    if (context->cancel_sent_at == 0) {
      context->cancel_sent_at = now + step_grace - cancel_interval;
      return;
    }
  }
  if (context->cancel_sent_at != 0 && now - context->cancel_sent_at < cancel_interval) return;
  context->cancel_sent_at = now;
  s->cancel_sent = true;
  s->engine->driver->cancel(s->session);
}

bool ldx_job_ends_transaction(const ldx_job *job) {
  return job->kind == LDX_JOB_TRANSACT && job->transition.what != LDX_TRANSACTION_BEGIN;
}

/* One call of the driver, on a session. */
static bool attempt(seat *s, ldx_job *job, ldx_context *context) {
  const ldx_driver *driver = s->engine->driver;
  if (!ldx_engine_allows(s->engine, job)) return false;
  if (atomic_load(&context->cancelled) && !ldx_job_ends_transaction(job))
    return ldx_error_set(&job->error, LDX_ERROR_CANCELLED, "cancelled");
  switch (job->kind) {
  case LDX_JOB_CONNECT:
    job->info = s->info;
    return true;
  case LDX_JOB_CATALOG:
    job->catalog = driver->catalog(s->session, context, &job->error);
    return job->catalog != NULL;
  case LDX_JOB_RESOLVE:
    ldx_declarations_set_dialect(job->declarations, ldx_catalog_dialect(job->catalog));
    return driver->resolve(s->session, job->catalog, job->declarations, context, &job->error);
  case LDX_JOB_MEASURE:
    return driver->measure(s->session, job->measures, job->measure_count, &job->error);
  case LDX_JOB_PERFORM:
    return driver->perform(s->session, &job->step, context, &job->error);
  case LDX_JOB_QUERY:
    job->result = driver->query(s->session, &job->statement, context, job->arena, &job->error);
    return job->result != NULL;
  case LDX_JOB_TRANSACT:
    return driver->transact(s->session, &job->transition, context, job->arena, &job->error);
  case LDX_JOB_HISTORY:
    job->result =
        driver->history(s->session, job->arena, job->history, job->parameters, job->parameter_count, &job->error);
    return job->result != NULL;
  case LDX_JOB_STATUS:
    job->result = driver->status(s->session, job->arena, &job->error);
    return job->result != NULL;
  case LDX_JOB_LOCK:
  case LDX_JOB_UNLOCK:
    break; /* the watcher's */
  }
  return ldx_error_set(&job->error, LDX_ERROR_INTERNAL, "a worker got a job of the watcher's");
}

/* Whether a message names the blocker already: the rest of its text holds how long it has been at it, and changes. */
static bool names(const char *message, const char *blocker) {
  char who[sizeof((ldx_progress *)NULL)->blocker];
  snprintf(who, sizeof who, "%.*s", (int)strcspn(blocker, ","), blocker);
  return strstr(message, who) != NULL;
}

/* A driver that was cancelled from outside may not know why; and who was in the way is known here. */
static void explain(seat *s, ldx_context *context, ldx_error *error) {
  if (error->code == LDX_ERROR_NONE) ldx_error_set(error, LDX_ERROR_INTERNAL, "the driver failed without a word");
  if (error->code == LDX_ERROR_CANCELLED && atomic_load(&context->over_budget) && !atomic_load(&context->cancelled))
    ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "the wait for other sessions exceeded its budget");
  if (error->code != LDX_ERROR_LOCK_TIMEOUT || error->detail[0]) return;
  pthread_mutex_lock(&s->mutex);
  if (context->progress.blocker[0] && !names(error->message, context->progress.blocker))
    snprintf(error->detail, sizeof error->detail, "blocked by %s", context->progress.blocker);
  pthread_mutex_unlock(&s->mutex);
}

bool ldx_engine_pause(ldx_engine *engine, ldx_context *context, double seconds) {
  struct timespec until = ldx_clock_deadline(seconds);
  pthread_mutex_lock(&engine->mutex);
  int timed_out = 0;
  while (!atomic_load(&context->cancelled) && !timed_out)
    timed_out = pthread_cond_timedwait(&engine->sleep, &engine->mutex, &until);
  pthread_mutex_unlock(&engine->mutex);
  return !atomic_load(&context->cancelled);
}

bool ldx_seat_try_again(seat *s, ldx_job *job, ldx_error_code code, int tries, double begun) {
  ldx_context *context = job->context;
  double delay = ldx_retry_delay(&job->retry, tries, ldx_random_next(&s->random));
  if (!ldx_retry_wanted(&job->retry, job->kind, code, tries, ldx_clock_now() - begun, delay)) return false;
  bool cancelled = atomic_load(&context->cancelled);
  if (!cancelled) ldx_event_post(s->engine, LDX_EVENT_RETRY, context, NULL, &job->error, NULL, job->attempts, delay);
  if (!cancelled && ldx_engine_pause(s->engine, context, delay)) return true;
  /* What would have been tried again has not failed for good: that it ends is the cancellation's doing. */
  char last[sizeof job->error.message];
  snprintf(last, sizeof last, "%s", job->error.message);
  ldx_error_set(&job->error, LDX_ERROR_CANCELLED, "cancelled before the next attempt");
  snprintf(job->error.detail, sizeof job->error.detail, "the last one failed: %.900s", last);
  return false;
}

/* Whether another worker has a session; engine.mutex is held. */
static bool others_connected(const seat *s) {
  const ldx_engine *engine = s->engine;
  for (size_t i = 0; i < engine->worker_count; i++)
    if (&engine->workers[i] != s && engine->workers[i].connected) return true;
  return false;
}

/* After no session was to be had: the job is for whoever has one, or for this one later. False: nobody has. */
static bool hand_back(seat *s, ldx_job *job) {
  ldx_engine *engine = s->engine;
  ldx_context *context = job->context;
  pthread_mutex_lock(&engine->mutex);
  bool others = others_connected(s) && !atomic_load(&context->cancelled);
  bool first = others && !context->handed_back;
  if (others) context->handed_back = true;
  pthread_mutex_unlock(&engine->mutex);
  if (!others) return false;
  if (first) ldx_context_note(context, "waits for a connection: %s", job->error.message);
  ldx_seat_leave(s);
  pthread_mutex_lock(&engine->mutex);
  s->barred_until = ldx_clock_now() + bar;
  context->seat = NULL;
  job->attempts--;
  ldx_queue_push_front(&engine->jobs, job);
  ldx_worker_call(engine);
  pthread_mutex_unlock(&engine->mutex);
  return true;
}

/* Until it is done, cannot be done, or is not wanted any more. False: another has to do it. */
static bool run(seat *s, ldx_job *job) {
  ldx_engine *engine = s->engine;
  ldx_context *context = job->context;
  double begun = ldx_clock_now();
  ldx_event_post(engine, LDX_EVENT_STARTED, context, NULL, NULL, NULL, 0, 0);
  for (int tries = 1;; tries++) {
    double tried = ldx_clock_now();
    job->attempts++;
    ldx_error_clear(&job->error);
    atomic_store(&context->over_budget, false);
    ldx_seat_begin(s, context);
    bool open = ldx_seat_open(s, &job->error);
    if (!open && job->error.code == LDX_ERROR_CONNECT && hand_back(s, job)) return false;
    if (open) job->session = s->session_number;
    job->ok = open && attempt(s, job, context);
    if (job->kind == LDX_JOB_TRANSACT) s->transacts = job->ok && ldx_transaction_begins(job->transition.what);
    ldx_seat_leave(s);
    if (job->ok) break;
    explain(s, context, &job->error);

    ldx_retry class = ldx_error_retry(job->error.code);
    if (class == LDX_RETRY_RECONNECT || class == LDX_RETRY_VERIFY) ldx_seat_close(s);
    /* What failed in a transaction has ended it, or is for its owner to judge. */
    if (s->transacts || context->gave_rows) break;
    if (job->error.code == LDX_ERROR_LINK_LOST && ldx_clock_now() - tried > long_attempt) tries = 1;
    if (!ldx_seat_try_again(s, job, job->error.code, tries, begun)) break;
  }
  if (job->ok) ldx_error_clear(&job->error);
  job->seconds = ldx_clock_now() - begun;
  ldx_event_post_left_out(context);
  return true;
}

/* One that has a session, if there is: jobs that come one after the other need one session, not one for each worker. */
void ldx_worker_call(ldx_engine *engine) {
  seat *chosen = NULL;
  for (size_t i = 0; i < engine->worker_count; i++) {
    seat *s = &engine->workers[i];
    if (s->idle && (!chosen || (s->connected && !chosen->connected))) chosen = s;
  }
  if (!chosen) return; /* whoever is ready first looks at the queue */
  chosen->idle = false;
  pthread_cond_signal(&chosen->work);
}

/* engine.mutex is held, but not while the session is closed. */
static void give_up_session(seat *s) {
  s->idle = false;
  pthread_mutex_unlock(&s->engine->mutex);
  ldx_seat_close(s);
  pthread_mutex_lock(&s->engine->mutex);
}

void *ldx_worker_run(void *the_seat) {
  seat *s = the_seat;
  ldx_engine *engine = s->engine;
  pthread_setname_np(pthread_self(), "ldx worker");
  pthread_mutex_lock(&engine->mutex);
  for (;;) {
    double barred = s->barred_until - ldx_clock_now();
    /* Whom nobody has called takes no job: it is for one that has a session. */
    bool waits = (s->idle || barred > 0) && !engine->stopping;
    ldx_job *job = waits ? NULL : ldx_queue_pop(&engine->jobs);
    if (job) {
      job->context->seat = s;
      pthread_mutex_unlock(&engine->mutex);
      bool over = run(s, job);
      pthread_mutex_lock(&engine->mutex);
      /* The mutex is kept until this worker waits, so that it is the one that is called with what comes next. */
      if (over) ldx_event_post_done(job->context);
    } else if (engine->stopping) {
      break;
    } else {
      s->idle = barred <= 0;
      struct timespec until = ldx_clock_deadline(barred > 0 ? barred : s->connected ? idle_limit : 3600);
      int timed_out = pthread_cond_timedwait(&s->work, &engine->mutex, &until);
      bool kept = s->transacts || engine->target.lasting;
      if (timed_out && s->idle && s->connected && !kept && !engine->jobs.first) give_up_session(s);
    }
  }
  pthread_mutex_unlock(&engine->mutex);
  ldx_seat_close(s);
  return NULL;
}
