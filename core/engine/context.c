/* context.c: what a driver sees of the engine while it performs a step; called by the worker that runs it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "engine/internal.h"

bool ldx_context_cancelled(ldx_context *context) {
  return atomic_load(&context->cancelled);
}

bool ldx_context_over_budget(ldx_context *context) {
  return atomic_load(&context->over_budget);
}

bool ldx_context_locked(ldx_context *context, ldx_error *error) {
  ldx_engine *engine = context->engine;
  for (bool told = false;; told = true) {
    if (ldx_clock_boot() < atomic_load(&engine->lock_until)) {
      if (told) ldx_context_note(context, "nobody took the run lock meanwhile: going on");
      return true;
    }
    if (!atomic_load(&engine->lock_held))
      return ldx_error_set(error, LDX_ERROR_LOCK_LOST, "the run lock is not held any more");
    if (!told) ldx_context_note(context, "the run lock may have ended: waiting for the server to say whose it is");
    if (!ldx_engine_pause(engine, context, 0.1)) return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  }
}

/* Under the seat's mutex, so that no cancel request is on its way when the driver goes on to clean up. */
void ldx_context_running(ldx_context *context, int64_t operation) {
  seat *s = context->seat;
  pthread_mutex_lock(&s->mutex);
  if (operation && operation != context->operation) {
    context->statement++;
    context->started_at = ldx_clock_now();
    context->draining_since = 0;
    context->queued_since = 0;
    context->blocker_pid = 0;
    context->cancel_sent_at = 0;
    memset(&context->progress, 0, sizeof context->progress);
    /* The budget of the statement before is spent; this one has its own. */
    atomic_store(&context->over_budget, false);
  }
  context->operation = operation;
  pthread_mutex_unlock(&s->mutex);
  if (operation) ldx_watcher_notify(context->engine);
}

void ldx_context_builds(ldx_context *context) {
  context->job->built = true;
}

void ldx_context_note(ldx_context *context, const char *format, ...) {
  /* However long: a note may hold the SQL that brings something back, of which nothing must be lost. */
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  char *text = length < 0 ? NULL : malloc((size_t)length + 1);
  if (text) {
    vsnprintf(text, (size_t)length + 1, format, again);
    ldx_event_post(context->engine, LDX_EVENT_NOTE, context, text, NULL, NULL, 0, 0);
  }
  va_end(again);
  free(text);
}

void ldx_context_notice(ldx_context *context, const ldx_notice *notice) {
  ldx_event_post_notice(context, notice);
}

/* --- silence ---------------------------------------------------------------------------------------------------------- */

/* Without an answer, where one takes milliseconds. */
static const double silence_limit = 5;

void ldx_context_silence(ldx_context *context, double seconds) {
  double now = ldx_clock_now();
  bool told = context->silent_since > 0;
  if (!told && seconds > 0) {
    char text[32] = "";
    time_t since = time(NULL) - (time_t)seconds;
    struct tm parts;
    if (gmtime_r(&since, &parts)) strftime(text, sizeof text, "%H:%M:%SZ", &parts);
    ldx_context_note(context, "the server has not answered since %s", text);
    context->silent_since = now - seconds;
  } else if (told && seconds <= 0) {
    ldx_context_note(context, "the server answers again, after %.0f s", now - context->silent_since);
    context->silent_since = 0;
  }
}

void ldx_context_waits(ldx_context *context) {
  double since = atomic_load(&context->engine->unanswered_since);
  double seconds = since > 0 ? ldx_clock_now() - since : 0;
  if (since == 0 || seconds > silence_limit) ldx_context_silence(context, seconds);
}

/* --- rows --------------------------------------------------------------------------------------------------------------- */

bool ldx_context_rows(ldx_context *context, ldx_arena *arena, const ldx_result *rows, ldx_error *error) {
  ldx_engine *engine = context->engine;
  pthread_mutex_lock(&engine->mutex);
  context->more = false;
  context->gave_rows = true;
  ldx_event_post_rows(context, arena, rows);
  while (!context->more && !atomic_load(&context->cancelled)) pthread_cond_wait(&engine->sleep, &engine->mutex);
  pthread_mutex_unlock(&engine->mutex);
  return !atomic_load(&context->cancelled) || ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
}
