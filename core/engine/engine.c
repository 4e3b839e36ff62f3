/* engine.c: the owner's side. DESIGN: jobs go in through a queue that the workers share, events come out through
 * another; a pipe that holds a byte while there are events lets the owner wait for them, for signals and for time.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "engine/internal.h"

enum { MOST_WORKERS = 256 };

/* --- life ----------------------------------------------------------------------------------------------------------- */

/* On the monotonic clock: a budget must not depend on somebody setting the time. */
static void cond_init(pthread_cond_t *cond) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(cond, &attributes);
  pthread_condattr_destroy(&attributes);
}

static void seat_init(seat *s, ldx_engine *engine) {
  s->engine = engine;
  pthread_mutex_init(&s->mutex, NULL);
  cond_init(&s->work);
  ldx_random_seed(&s->random, (uint64_t)(uintptr_t)s);
}

static void seat_destroy(seat *s) {
  pthread_mutex_destroy(&s->mutex);
  pthread_cond_destroy(&s->work);
}

/* Joins the first `started` workers, and the watcher if it runs. */
static void stop_threads(ldx_engine *engine, size_t started, bool watcher) {
  pthread_mutex_lock(&engine->mutex);
  engine->stopping = true;
  for (size_t i = 0; i < engine->worker_count; i++) pthread_cond_signal(&engine->workers[i].work);
  pthread_mutex_unlock(&engine->mutex);
  /* The watcher stays until the workers have ended: it repeats the cancel requests. */
  for (size_t i = 0; i < started; i++) pthread_join(engine->workers[i].thread, NULL);
  if (!watcher) return;
  pthread_mutex_lock(&engine->mutex);
  engine->watcher_stopping = true;
  pthread_cond_signal(&engine->watch);
  pthread_mutex_unlock(&engine->mutex);
  pthread_mutex_lock(&engine->watcher.mutex);
  if (engine->watcher.session) engine->driver->cancel(engine->watcher.session);
  pthread_mutex_unlock(&engine->watcher.mutex);
  pthread_join(engine->watcher.thread, NULL);
}

static void destroy(ldx_engine *engine) {
  for (size_t i = 0; i < engine->worker_count; i++) seat_destroy(&engine->workers[i]);
  seat_destroy(&engine->watcher);
  pthread_mutex_destroy(&engine->mutex);
  pthread_cond_destroy(&engine->sleep);
  pthread_cond_destroy(&engine->watch);
  for (int i = 0; i < 2; i++)
    if (engine->wake[i] >= 0) close(engine->wake[i]);
  ldx_arena_free(engine->arena);
  free(engine->workers);
  free(engine);
}

/* Signals are for the owner: in a worker one would interrupt a driver and find nobody who looks at it. */
static bool start_threads(ldx_engine *engine, ldx_error *error) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  size_t started = 0;
  int failed = 0;
  for (; started < engine->worker_count && !failed; started += !failed)
    failed = pthread_create(&engine->workers[started].thread, NULL, ldx_worker_run, &engine->workers[started]);
  if (!failed) failed = pthread_create(&engine->watcher.thread, NULL, ldx_watcher_run, engine);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!failed) return true;
  stop_threads(engine, started, false);
  return ldx_error_set(error, LDX_ERROR_INTERNAL, "cannot start a thread: %s", strerror(failed));
}

ldx_engine *ldx_engine_new(const ldx_driver *driver, const ldx_target *target, int jobs, ldx_error *error) {
  if (jobs < 1 || jobs > MOST_WORKERS) {
    ldx_error_set(error, LDX_ERROR_USAGE, "jobs must be between 1 and %d", MOST_WORKERS);
    return NULL;
  }
  ldx_engine *engine = calloc(1, sizeof *engine);
  if (!engine) {
    ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
    return NULL;
  }
  engine->driver = driver;
  engine->arena = ldx_arena_new();
  engine->target = *target;
  atomic_init(&engine->closing, false);
  atomic_init(&engine->lock_until, INFINITY);
  atomic_init(&engine->lock_held, false);
  atomic_init(&engine->unanswered_since, 0);
  engine->target.url = ldx_arena_strdup(engine->arena, target->url);
  engine->target.application_name = ldx_arena_strdup(engine->arena, target->application_name);
  pthread_mutex_init(&engine->mutex, NULL);
  cond_init(&engine->sleep);
  cond_init(&engine->watch);
  seat_init(&engine->watcher, engine);
  engine->wake[0] = engine->wake[1] = -1;
  engine->workers = calloc((size_t)jobs, sizeof *engine->workers);
  if (!engine->workers) {
    ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
    goto out;
  }
  engine->worker_count = (size_t)jobs;
  for (size_t i = 0; i < engine->worker_count; i++) {
    seat_init(&engine->workers[i], engine);
    engine->workers[i].idle = true;
  }
  if (pipe(engine->wake) != 0) {
    engine->wake[0] = engine->wake[1] = -1;
    ldx_error_set(error, LDX_ERROR_INTERNAL, "cannot make a pipe: %s", strerror(errno));
    goto out;
  }
  for (int i = 0; i < 2; i++) fcntl(engine->wake[i], F_SETFD, FD_CLOEXEC);
  if (!start_threads(engine, error)) goto out;
  return engine;
out:
  destroy(engine);
  return NULL;
}

void ldx_engine_free(ldx_engine *engine) {
  if (!engine) return;
  atomic_store(&engine->closing, true);
  ldx_engine_cancel(engine, NULL);
  stop_threads(engine, engine->worker_count, true);
  ldx_event_clear(engine);
  for (ldx_context *context = engine->contexts; context;) {
    ldx_context *next = context->next;
    context->job->context = NULL;
    free(context);
    context = next;
  }
  destroy(engine);
}

/* --- jobs ----------------------------------------------------------------------------------------------------------- */

static bool is_watchers(const ldx_job *job) {
  return job->kind == LDX_JOB_LOCK || job->kind == LDX_JOB_UNLOCK;
}

bool ldx_engine_allows(const ldx_engine *engine, ldx_job *job) {
  bool writes = job->kind == LDX_JOB_PERFORM || job->kind == LDX_JOB_LOCK ||
                (job->kind == LDX_JOB_HISTORY && job->history != LDX_HISTORY_READ);
  if (!writes || !engine->target.read_only) return true;
  ldx_error_set(&job->error, LDX_ERROR_READ_ONLY, "this connection only reads: nothing can be changed through it");
  ldx_error_hint(&job->error, "Open it without read_only.");
  return false;
}

void ldx_engine_submit(ldx_engine *engine, ldx_job *job) {
  ldx_context *context = calloc(1, sizeof *context);
  if (!context) {
    fprintf(stderr, "lunadex: out of memory (%zu bytes)\n", sizeof *context);
    abort();
  }
  context->job = job;
  context->engine = engine;
  atomic_init(&context->cancelled, false);
  atomic_init(&context->over_budget, false);
  context->next = engine->contexts;
  if (context->next) context->next->previous = context;
  engine->contexts = context;
  engine->pending++;

  job->id = ++engine->last_id;
  job->context = context;
  job->ok = false;
  job->attempts = 0;
  job->session = 0;
  job->built = false;
  job->seconds = 0;
  job->result = NULL;
  job->transition.done = 0;
  job->transition.committed = false;
  if (job->kind == LDX_JOB_CATALOG) job->catalog = NULL;
  ldx_error_clear(&job->error);

  pthread_mutex_lock(&engine->mutex);
  if (is_watchers(job)) {
    ldx_queue_push(&engine->watcher_jobs, job);
    pthread_cond_signal(&engine->watch);
  } else {
    ldx_queue_push(&engine->jobs, job);
    ldx_worker_call(engine);
  }
  pthread_mutex_unlock(&engine->mutex);
}

static void cancel(ldx_engine *engine, ldx_context *context) {
  ldx_job *job = context->job;
  if (job->kind == LDX_JOB_UNLOCK) return; /* part of stopping: it takes no time, and a lock kept helps nobody */
  pthread_mutex_lock(&engine->mutex);
  atomic_store(&context->cancelled, true);
  if (!ldx_job_ends_transaction(job) &&
      ldx_queue_remove(is_watchers(job) ? &engine->watcher_jobs : &engine->jobs, job)) {
    ldx_error_set(&job->error, LDX_ERROR_CANCELLED, "cancelled before it began");
    ldx_event_post_done(context);
  }
  pthread_cond_broadcast(&engine->sleep);
  pthread_mutex_unlock(&engine->mutex);
  /* The watcher asks the server: the owner must not wait for a network that is silent. */
  ldx_watcher_notify(engine);
}

void ldx_engine_cancel(ldx_engine *engine, ldx_job *job) {
  if (job) {
    if (job->context) cancel(engine, job->context);
    return;
  }
  for (ldx_context *context = engine->contexts; context; context = context->next) cancel(engine, context);
}

void ldx_engine_more(ldx_engine *engine, ldx_job *job) {
  if (!job->context) return;
  pthread_mutex_lock(&engine->mutex);
  job->context->more = true;
  pthread_cond_broadcast(&engine->sleep);
  pthread_mutex_unlock(&engine->mutex);
}

size_t ldx_engine_pending(const ldx_engine *engine) {
  return engine->pending;
}

/* --- events --------------------------------------------------------------------------------------------------------- */

static void give_back(ldx_engine *engine, ldx_job *job) {
  ldx_context *context = job->context;
  if (context->previous)
    context->previous->next = context->next;
  else
    engine->contexts = context->next;
  if (context->next) context->next->previous = context->previous;
  job->context = NULL;
  free(context);
  engine->pending--;
}

static bool take(ldx_engine *engine, ldx_event *event) {
  if (!ldx_event_take(engine, event)) return false;
  if (event->kind == LDX_EVENT_DONE) give_back(engine, event->job);
  return true;
}

static int milliseconds_of(double seconds) {
  return seconds > 1e6 ? 1000000000 : (int)ceil(seconds * 1000);
}

bool ldx_engine_poll(ldx_engine *engine, double timeout, ldx_event *event) {
  if (take(engine, event)) return true;
  double until = timeout >= 0 ? ldx_clock_now() + timeout : 0;
  for (;;) {
    int milliseconds = -1;
    if (timeout >= 0) {
      double left = until - ldx_clock_now();
      if (left < 0) left = 0;
      milliseconds = milliseconds_of(left);
    }
    struct pollfd descriptors[2] = {{.fd = engine->wake[0], .events = POLLIN},
                                    {.fd = ldx_signals_descriptor(), .events = POLLIN}}; /* -1 is ignored */
    int ready = poll(descriptors, 2, milliseconds);
    if (ready < 0) return false; /* a signal */
    if (take(engine, event)) return true;
    if (descriptors[1].revents) {
      ldx_signals_drain();
      return false;
    }
    if (timeout >= 0 && ldx_clock_now() >= until) return false;
  }
}

void ldx_engine_wait(ldx_engine *const *engines, size_t count, double timeout) {
  struct pollfd *descriptors = calloc(count + 1, sizeof *descriptors);
  if (!descriptors) abort();
  for (size_t i = 0; i < count; i++) descriptors[i] = (struct pollfd){.fd = engines[i]->wake[0], .events = POLLIN};
  descriptors[count] = (struct pollfd){.fd = ldx_signals_descriptor(), .events = POLLIN};
  if (poll(descriptors, count + 1, timeout < 0 ? -1 : milliseconds_of(timeout)) > 0 && descriptors[count].revents)
    ldx_signals_drain();
  free(descriptors);
}
