/* strong_lock.c: how a step gets a lock behind which everybody else has to wait.
 *
 * Whoever stands in the server's queue for it holds up all who come after. So it is first waited until nobody has had the
 * relation for long, which costs nobody anything; then the lock is asked for a moment at a time, with rests in which those
 * who stood behind get on.
 */
#include <math.h>

#include "base/clock.h"
#include "engine/internal.h"

/* Seconds between two looks; between two tries; and the longest, also where nobody can say who is in the way. */
static const double pause = 0.2, rest = 2, longest_rest = 10;

double ldx_lock_budget(const ldx_step *step) {
  return step->lock_timeout > 0 ? step->lock_timeout : INFINITY;
}

/* When a wait ends, in seconds from its begin, if that is who has it. `tried`: the wait is a rest, after a try in vain. */
static double end_of(const ldx_strong_lock *lock, ldx_holding holding, bool tried) {
  if (!tried) return holding == LDX_HOLDING_SOMEBODY ? INFINITY : 0;
  if (holding == LDX_HOLDING_SOMEBODY && lock->certain) return INFINITY;
  double end = holding == LDX_HOLDING_NOBODY ? rest : longest_rest;
  return end < lock->left ? end : lock->left;
}

static bool refuse(const ldx_strong_lock *lock, const char *who, ldx_error *error) {
  ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "%s is held by %s", lock->relation, who);
  ldx_error_hint(error, "Nothing was begun.");
  return false;
}

static bool wait_for(ldx_strong_lock *lock, bool tried, ldx_error *error) {
  ldx_context *context = lock->context;
  const double began = ldx_clock_now();
  bool shown = false, ok = true;
  while (ok) {
    char who[512];
    ldx_holding holding;
    ok = lock->holder(lock->state, &holding, who, sizeof who, error);
    double waited = ldx_clock_now() - began;
    if (!ok || waited >= end_of(lock, holding, tried)) break;
    if (holding == LDX_HOLDING_SOMEBODY) {
      /* The watcher shows who, while the session itself is idle. */
      if (!shown) ldx_context_running(context, lock->operation);
      shown = true;
      ok = (waited <= lock->left && !ldx_context_over_budget(context)) || refuse(lock, who, error);
    }
    if (ok && !ldx_engine_pause(context->engine, context, pause))
      ok = ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
  }
  if (shown) ldx_context_running(context, 0);
  lock->left -= ldx_clock_now() - began;
  return ok;
}

bool ldx_strong_lock_wait(ldx_strong_lock *lock, ldx_error *error) {
  return wait_for(lock, false, error);
}

bool ldx_strong_lock_send(ldx_strong_lock *lock, ldx_error *error) {
  for (;;) {
    const double began = ldx_clock_now();
    if (lock->send(lock->state, error)) return true;
    lock->left -= ldx_clock_now() - began;
    if (error->code != LDX_ERROR_LOCK_TIMEOUT || lock->left <= 0 || !wait_for(lock, true, error)) return false;
    ldx_error_clear(error);
  }
}
