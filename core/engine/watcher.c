/* watcher.c: the thread that looks at what the workers' sessions do, with a session of its own.
 *
 * It asks the driver how far the running steps are, tells the owner, ends steps whose budget for waiting is used up,
 * repeats cancel requests, and holds the run lock. Its session is opened when a step runs or the lock is asked for.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/internal.h"

static const double quick_look = 0.1, usual_look = 0.5; /* in a step's first second; later */
static const double lock_look = 1.0;                    /* at the session that holds the lock */
static const double queue_limit = 0.5;                  /* for a statement behind which others wait */
static const double open_again = 2.0;                   /* after it could not be opened */
/* Seconds after its end in which a lock that ends by itself may still turn out to be ours. */
static const double doubt_limit = 300;

/* What is looked at in one round: `worker` runs statement `statement` of `context`. */
typedef struct looked_at {
  seat *worker;
  const ldx_context *context; /* to be compared only */
  uint64_t job;
  int statement;
} looked_at;

void ldx_watcher_notify(ldx_engine *engine) {
  pthread_mutex_lock(&engine->mutex);
  engine->watch_changed = true;
  pthread_cond_signal(&engine->watch);
  pthread_mutex_unlock(&engine->mutex);
}

/* --- the session and the lock --------------------------------------------------------------------------------------- */

static void lose_lock(ldx_engine *engine, const ldx_error *error) {
  if (!atomic_load(&engine->lock_held)) return;
  atomic_store(&engine->lock_until, 0);
  atomic_store(&engine->lock_held, false);
  ldx_error lost = *error;
  if (lost.code == LDX_ERROR_NONE)
    ldx_error_set(&lost, LDX_ERROR_LINK_LOST, "the session that held the run lock was lost");
  ldx_event_post(engine, LDX_EVENT_LOCK_LOST, NULL, NULL, &lost, NULL, 0, 0);
}

static void lose_session(ldx_engine *engine, const ldx_error *error) {
  ldx_seat_close(&engine->watcher);
  lose_lock(engine, error);
}

/* After a call failed: whether the link went with it. */
static void check_session(ldx_engine *engine, const ldx_error *error) {
  ldx_retry class = ldx_error_retry(error->code);
  bool lost = class == LDX_RETRY_VERIFY || class == LDX_RETRY_RECONNECT;
  /* A lock that is renewed hangs on no link; nor does its session, as long as it says that it lives. */
  if (engine->driver->hold) lost = false;
  if (lost || !engine->driver->alive(engine->watcher.session)) lose_session(engine, error);
}

/* Where the session has died since it was last used, the lock has gone with it. */
static void notice_loss(ldx_engine *engine) {
  static const ldx_error none;
  ldx_session *session = engine->watcher.session;
  if (session && !engine->driver->alive(session)) lose_session(engine, &none);
}

/* Renews a lock that ends by itself. */
static bool renew(ldx_engine *engine, ldx_error *error) {
  const ldx_driver *driver = engine->driver;
  double now = ldx_clock_boot(), good_for;
  if (!driver->hold) return true;
  engine->held_at = now;
  if (!driver->hold(engine->watcher.session, &good_for, error)) return false;
  atomic_store(&engine->lock_until, now + good_for);
  return true;
}

/* After it could not be renewed. While it is in doubt nothing is written (ldx_context_locked). */
static void doubt_lock(ldx_engine *engine, ldx_error *error) {
  double doubt = ldx_clock_boot() - atomic_load(&engine->lock_until);
  if (error->code == LDX_ERROR_LOCK_LOST) {
    lose_lock(engine, error);
  } else if (doubt > doubt_limit) {
    char why[sizeof error->message];
    snprintf(why, sizeof why, "%s", error->message);
    ldx_error_set(error, LDX_ERROR_LOCK_LOST, "it could not be renewed for %.0f s: %.900s", doubt, why);
    lose_lock(engine, error);
  }
}

static void keep_lock(ldx_engine *engine) {
  ldx_error error;
  ldx_error_clear(&error);
  notice_loss(engine);
  if (atomic_load(&engine->lock_held) && ldx_clock_boot() - engine->held_at >= lock_look && !renew(engine, &error))
    doubt_lock(engine, &error);
}

static bool open_session(ldx_engine *engine, ldx_error *error) {
  notice_loss(engine);
  return engine->watcher.session || ldx_seat_open(&engine->watcher, error);
}

/* Waits until it is known whether the lock is still ours. */
static bool make_sure(ldx_engine *engine, ldx_job *job) {
  while (!renew(engine, &job->error)) {
    doubt_lock(engine, &job->error);
    if (!atomic_load(&engine->lock_held)) return false;
    if (ldx_clock_boot() < atomic_load(&engine->lock_until)) break;
    if (!ldx_engine_pause(engine, job->context, lock_look))
      return ldx_error_set(&job->error, LDX_ERROR_CANCELLED, "cancelled");
  }
  return true;
}

static bool lock(ldx_engine *engine, ldx_job *job) {
  const ldx_driver *driver = engine->driver;
  seat *s = &engine->watcher;
  if (!ldx_engine_allows(engine, job) || !open_session(engine, &job->error)) return false;
  if (atomic_load(&engine->lock_held)) return make_sure(engine, job);
  atomic_store(&engine->lock_until, driver->hold ? 0 : INFINITY);
  if (driver->lock(s->session, &job->error) && renew(engine, &job->error)) {
    atomic_store(&engine->lock_held, true);
    return true;
  }
  ldx_error ignored;
  if (driver->hold) driver->unlock(s->session, &ignored); /* it may have been taken, and would keep others waiting */
  return false;
}

static bool unlock(ldx_engine *engine, ldx_job *job) {
  notice_loss(engine);
  if (!atomic_load(&engine->lock_held)) return true;
  if (!engine->driver->unlock(engine->watcher.session, &job->error)) return false;
  atomic_store(&engine->lock_held, false);
  atomic_store(&engine->lock_until, INFINITY);
  return true;
}

static bool lock_or_unlock(ldx_engine *engine, ldx_job *job) {
  if (job->kind == LDX_JOB_UNLOCK ? unlock(engine, job) : lock(engine, job)) return true;
  if (engine->watcher.session) check_session(engine, &job->error);
  return false;
}

static void run(ldx_engine *engine, ldx_job *job) {
  seat *s = &engine->watcher;
  ldx_context *context = job->context;
  double begun = ldx_clock_now();
  bool lost = false;
  ldx_event_post(engine, LDX_EVENT_STARTED, context, NULL, NULL, NULL, 0, 0);
  do {
    job->attempts++;
    ldx_error_clear(&job->error);
    ldx_seat_begin(s, context);
    /* Giving the lock back is part of stopping. */
    if (job->kind == LDX_JOB_LOCK && atomic_load(&context->cancelled))
      job->ok = ldx_error_set(&job->error, LDX_ERROR_CANCELLED, "cancelled");
    else
      job->ok = lock_or_unlock(engine, job);
    ldx_seat_leave(s);
    if (ldx_error_retry(job->error.code) == LDX_RETRY_VERIFY) lost = true;
    /* Whoever has it after our link was lost may be ourselves: a server takes its time to notice. */
  } while (!job->ok &&
           ldx_seat_try_again(s, job,
                              lost && job->error.code == LDX_ERROR_LOCK_HELD ? LDX_ERROR_LINK_LOST : job->error.code,
                              job->attempts, begun));
  if (job->ok) ldx_error_clear(&job->error);
  job->seconds = ldx_clock_now() - begun;
  ldx_seat_end(s, context);
}

/* --- looking at steps ----------------------------------------------------------------------------------------------- */

/* The owner may have a job back, with all it points to, before the driver has looked at its step. */
static ldx_step *copy_step(ldx_arena *arena, const ldx_step *step) {
  ldx_step *copy = LDX_ARENA_NEW(arena, ldx_step, 1);
  *copy = *step;
  copy->relation.schema = ldx_arena_strdup(arena, step->relation.schema);
  copy->relation.name = ldx_arena_strdup(arena, step->relation.name);
  copy->other_relation.schema = ldx_arena_strdup(arena, step->other_relation.schema);
  copy->other_relation.name = ldx_arena_strdup(arena, step->other_relation.name);
  copy->name = ldx_arena_strdup(arena, step->name);
  copy->other = ldx_arena_strdup(arena, step->other);
  copy->spare = ldx_arena_strdup(arena, step->spare);
  copy->maintenance_work_mem = ldx_arena_strdup(arena, step->maintenance_work_mem);
  ldx_strings_copy(arena, &copy->nullable, &step->nullable);
  ldx_strings_copy(arena, &copy->dismissal.cancel, &step->dismissal.cancel);
  ldx_strings_copy(arena, &copy->dismissal.terminate, &step->dismissal.terminate);
  if (step->definition) {
    ldx_definition *definition = LDX_ARENA_NEW(arena, ldx_definition, 1);
    ldx_definition_copy(arena, definition, step->definition);
    copy->definition = definition;
  }
  /* The owner's, and of no use to whoever only looks. */
  copy->old = NULL;
  copy->commit_quorum = NULL;
  copy->companions = NULL;
  copy->companion_count = 0;
  return copy;
}

/* The step that runs on a seat, if one does; the seat's mutex is held. */
static ldx_context *running_step(const seat *s) {
  ldx_context *context = s->context;
  return context && context->job->kind == LDX_JOB_PERFORM && context->operation ? context : NULL;
}

/* Whether steps run, and how soon they should be looked at. */
static bool steps_run(ldx_engine *engine, double *next) {
  bool any = false;
  double now = ldx_clock_now();
  for (size_t i = 0; i < engine->worker_count; i++) {
    seat *s = &engine->workers[i];
    pthread_mutex_lock(&s->mutex);
    const ldx_context *context = running_step(s);
    if (context) {
      double interval = now - context->started_at < 1 ? quick_look : usual_look;
      if (interval < *next) *next = interval;
      any = true;
    }
    pthread_mutex_unlock(&s->mutex);
  }
  return any;
}

static size_t collect(ldx_engine *engine, ldx_arena *arena, ldx_watched *watched, looked_at *looks) {
  size_t count = 0;
  for (size_t i = 0; i < engine->worker_count; i++) {
    seat *s = &engine->workers[i];
    pthread_mutex_lock(&s->mutex);
    const ldx_context *context = running_step(s);
    if (context) {
      looks[count] = (looked_at){s, context, context->job->id, context->statement};
      watched[count].step = copy_step(arena, &context->job->step);
      watched[count].operation = context->operation;
      memset(&watched[count].progress, 0, sizeof watched[count].progress);
      count++;
    }
    pthread_mutex_unlock(&s->mutex);
  }
  return count;
}

static bool same(const ldx_progress *a, const ldx_progress *b) {
  return a->started == b->started && a->queued == b->queued && a->draining == b->draining && a->done == b->done &&
         a->total == b->total && a->blocker_pid == b->blocker_pid && !strcmp(a->phase, b->phase) &&
         !strcmp(a->unit, b->unit) && !strcmp(a->blocker, b->blocker);
}

static void since(bool is, double now, double *began) {
  if (!is)
    *began = 0;
  else if (*began == 0)
    *began = now;
}

/* A budget is for waiting, not for work: one ends with the table's lock, the other begins when the work is done. What holds
 * up everybody else meanwhile has but a moment. */
static bool exceeds_budget(ldx_context *context, double now) {
  const ldx_step *step = &context->job->step;
  const ldx_progress *progress = &context->progress;
  since(progress->draining, now, &context->draining_since);
  since(progress->queued, now, &context->queued_since);
  if (progress->queued && now - context->queued_since > queue_limit) return true;
  if (!progress->started) return step->lock_timeout > 0 && now - context->started_at > step->lock_timeout;
  return progress->draining && step->drain_timeout > 0 && now - context->draining_since > step->drain_timeout;
}

/* Whether somebody has been in the way for longer than the step's patience with those who may be sent away. */
static bool out_of_patience(ldx_context *context, double now) {
  const ldx_dismissal *dismissal = &context->job->step.dismissal;
  int64_t pid = context->progress.blocker_pid;
  if (pid != context->blocker_pid) {
    context->blocker_pid = pid;
    context->blocked_since = now;
  }
  if (!pid || !(dismissal->cancel.count || dismissal->terminate.count)) return false;
  if (now - context->blocked_since < dismissal->patience) return false;
  context->blocked_since = now;
  return true;
}

/* The context that was looked at, if it still runs the same statement; the seat's mutex is held. */
static ldx_context *still_running(const looked_at *look) {
  ldx_context *context = look->worker->context;
  bool still = context && context == look->context && context->job->id == look->job &&
               context->statement == look->statement && context->operation;
  return still ? context : NULL;
}

/* True: whoever blocks is to be sent away. */
static bool take_in(ldx_engine *engine, const looked_at *look, const ldx_progress *progress) {
  seat *s = look->worker;
  bool dismiss = false;
  pthread_mutex_lock(&s->mutex);
  ldx_context *context = still_running(look);
  /* Once it is being ended, it waits for nobody any more, and that is not what is to be told. */
  if (context && !atomic_load(&context->over_budget)) {
    if (!same(&context->progress, progress)) {
      context->progress = *progress;
      ldx_event_post(engine, LDX_EVENT_PROGRESS, context, NULL, NULL, progress, 0, 0);
    }
    if (exceeds_budget(context, ldx_clock_now())) atomic_store(&context->over_budget, true);
    dismiss = out_of_patience(context, ldx_clock_now());
  }
  pthread_mutex_unlock(&s->mutex);
  return dismiss;
}

/* A note on the job that was looked at. With the way free, it may have gone on to its next statement already. */
static void note(const looked_at *look, const char *what, const char *whom, const char *why) {
  pthread_mutex_lock(&look->worker->mutex);
  ldx_context *context = look->worker->context;
  if (context && context == look->context && context->job->id == look->job)
    ldx_context_note(context, "%s %s%s%s", what, whom, *why ? ": " : "", why);
  pthread_mutex_unlock(&look->worker->mutex);
}

static bool send_away(ldx_engine *engine, const looked_at *look, const ldx_progress *progress,
                      const ldx_strings *applications, bool terminate) {
  ldx_error error;
  bool sent = false;
  if (!applications->count) return false;
  if (!engine->driver->dismiss(engine->watcher.session, progress->blocker_pid, applications, terminate, &sent,
                               &error)) {
    check_session(engine, &error);
    if (engine->watcher.session)
      note(look, terminate ? "cannot end the session of" : "cannot cancel", progress->blocker, error.message);
    return false;
  }
  if (sent) note(look, terminate ? "ended the session of" : "cancelled", progress->blocker, "");
  return sent;
}

static void take_in_all(ldx_engine *engine, const looked_at *looks, const ldx_watched *watched, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const ldx_progress *progress = &watched[i].progress;
    const ldx_dismissal *dismissal = &watched[i].step->dismissal;
    if (!take_in(engine, &looks[i], progress) || !engine->driver->dismiss || !engine->watcher.session) continue;
    if (!send_away(engine, &looks[i], progress, &dismissal->terminate, true) && engine->watcher.session)
      send_away(engine, &looks[i], progress, &dismissal->cancel, false);
  }
}

/* Asks how far they are, and notes how long it takes to be answered, if only by a refusal. */
static bool ask(ldx_engine *engine, ldx_watched *watched, size_t count, ldx_error *error) {
  if (atomic_load(&engine->unanswered_since) == 0) atomic_store(&engine->unanswered_since, ldx_clock_now());
  bool ok = engine->driver->watch(engine->watcher.session, watched, count, error);
  ldx_retry class = ldx_error_retry(error->code);
  if (ok || (class != LDX_RETRY_VERIFY && class != LDX_RETRY_RECONNECT)) atomic_store(&engine->unanswered_since, 0);
  return ok;
}

/* One round. False: the session could not be opened. */
static bool look(ldx_engine *engine, ldx_watched *watched, looked_at *looks) {
  ldx_error error;
  ldx_error_clear(&error);
  if (!open_session(engine, &error)) return false;
  ldx_arena *arena = ldx_arena_new();
  size_t count = collect(engine, arena, watched, looks);
  /* Nothing is concluded from a look that failed: a budget is only enforced on what was seen. */
  if (count > 0) {
    if (ask(engine, watched, count, &error)) {
      take_in_all(engine, looks, watched, count);
    } else {
      check_session(engine, &error);
    }
  }
  ldx_arena_free(arena);
  return true;
}

/* Sends the cancel requests that are due, from `turn` on; whether something is being cancelled. A server that is silent has
 * each of them wait: the lock is not to wait for them all, so the rest has its turn in the next round. */
static bool cancel_again(ldx_engine *engine, size_t *turn) {
  const double until = ldx_clock_now() + lock_look;
  bool any = false;
  for (size_t i = 0; i < engine->worker_count && !(any && ldx_clock_now() > until); i++) {
    seat *s = &engine->workers[*turn];
    *turn = (*turn + 1) % engine->worker_count;
    pthread_mutex_lock(&s->mutex);
    if (s->context && (atomic_load(&s->context->cancelled) || atomic_load(&s->context->over_budget))) any = true;
    ldx_seat_cancel(s);
    pthread_mutex_unlock(&s->mutex);
  }
  return any;
}

static void wait_for_change(ldx_engine *engine, double seconds) {
  struct timespec until = ldx_clock_deadline(seconds);
  pthread_mutex_lock(&engine->mutex);
  int timed_out = 0;
  while (!engine->watch_changed && !engine->watcher_stopping && !engine->watcher_jobs.first && !timed_out)
    timed_out = pthread_cond_timedwait(&engine->watch, &engine->mutex, &until);
  engine->watch_changed = false;
  pthread_mutex_unlock(&engine->mutex);
}

void *ldx_watcher_run(void *the_engine) {
  ldx_engine *engine = the_engine;
  pthread_setname_np(pthread_self(), "ldx watcher");
  ldx_watched *watched = calloc(engine->worker_count, sizeof *watched);
  looked_at *looks = calloc(engine->worker_count, sizeof *looks);
  double looked = -usual_look, failed = -open_again;
  size_t turn = 0;
  if (!watched || !looks) abort();
  for (;;) {
    pthread_mutex_lock(&engine->mutex);
    ldx_job *job = ldx_queue_pop(&engine->watcher_jobs);
    if (job) job->context->seat = &engine->watcher;
    bool stop = engine->watcher_stopping && !job;
    pthread_mutex_unlock(&engine->mutex);
    if (stop) break;
    if (job) run(engine, job);

    double next = 3600;
    if (cancel_again(engine, &turn)) next = quick_look;
    bool running = steps_run(engine, &next);
    double now = ldx_clock_now();
    if (!running) atomic_store(&engine->unanswered_since, 0); /* nobody asks */
    if (running && now - failed >= open_again && (engine->watcher.session == NULL || now - looked >= next)) {
      if (!look(engine, watched, looks)) failed = ldx_clock_now();
      looked = ldx_clock_now();
    }
    if (atomic_load(&engine->lock_held)) {
      keep_lock(engine);
      if (next > lock_look) next = lock_look;
    }
    /* A new statement wakes the watcher, but is looked at only after the interval: most are over by then. */
    wait_for_change(engine, next);
  }
  ldx_seat_close(&engine->watcher);
  free(watched);
  free(looks);
  return NULL;
}
