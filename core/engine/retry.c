#include "engine/retry.h"

#include <unistd.h>

#include "base/clock.h"

const ldx_retry_policy ldx_retry_default = {.attempts = 10, .first_delay = 1, .factor = 2, .max_delay = 60};

/* Full jitter, anything between nothing and the whole delay: two runs that collided once would with a fixed delay
 * collide again at every attempt. */
double ldx_retry_delay(const ldx_retry_policy *policy, int attempt, double random) {
  double delay = policy->first_delay;
  for (int i = 1; i < attempt && delay < policy->max_delay; i++) delay *= policy->factor > 1 ? policy->factor : 1;
  if (policy->max_delay > 0 && delay > policy->max_delay) delay = policy->max_delay;
  return delay > 0 ? delay * random : 0;
}

/* What may be sent again after the server may have done it: all that only reads, steps, which look first, and the run
 * lock, which knows its owner; that another run has it is the caller's to wait for. The text of a query is unknown. */
static bool survives(ldx_job_kind kind, ldx_retry retry) {
  switch (kind) {
  case LDX_JOB_CONNECT:
  case LDX_JOB_CATALOG:
  case LDX_JOB_RESOLVE:
  case LDX_JOB_MEASURE:
  case LDX_JOB_PERFORM:
  case LDX_JOB_LOCK:
    return retry != LDX_RETRY_NEVER;
  case LDX_JOB_QUERY:
    return retry == LDX_RETRY_AGAIN || retry == LDX_RETRY_RECONNECT;
  case LDX_JOB_TRANSACT:
  case LDX_JOB_HISTORY:
  case LDX_JOB_STATUS:
  case LDX_JOB_UNLOCK:
    return false;
  }
  return false;
}

bool ldx_retry_left(const ldx_retry_policy *policy, int attempt, double elapsed, double delay) {
  if (attempt >= policy->attempts) return false;
  return !(policy->total > 0) || elapsed + delay <= policy->total;
}

bool ldx_retry_wanted(const ldx_retry_policy *policy, ldx_job_kind kind, ldx_error_code code, int attempt,
                      double elapsed, double delay) {
  return survives(kind, ldx_error_retry(code)) && ldx_retry_left(policy, attempt, elapsed, delay);
}

/* splitmix64 */
static uint64_t next(ldx_random *random) {
  uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void ldx_random_seed(ldx_random *random, uint64_t salt) {
  random->state =
      (uint64_t)(ldx_clock_now() * 1e9) ^ ((uint64_t)getpid() << 40) ^ (salt * UINT64_C(0x9e3779b97f4a7c15));
  next(random);
}

double ldx_random_next(ldx_random *random) {
  return (double)(next(random) >> 11) / 9007199254740992.0; /* 2^53 */
}
