/* retry.h: how long to wait before the next attempt. Pure. */
#ifndef LUNADEX_ENGINE_RETRY_H
#define LUNADEX_ENGINE_RETRY_H

#include <stdint.h>

#include "lunadex/engine.h"

/* Seconds to wait after attempt number `attempt` (1 …) failed; `random` is in [0, 1). */
double ldx_retry_delay(const ldx_retry_policy *policy, int attempt, double random);

/* Whether the policy leaves another attempt after that one, which failed `elapsed` seconds after the first one began;
 * `delay` is what ldx_retry_delay gave. */
bool ldx_retry_left(const ldx_retry_policy *policy, int attempt, double elapsed, double delay);

/* The same for a job that failed with `code`, which may be one not to be repeated. */
bool ldx_retry_wanted(const ldx_retry_policy *policy, ldx_job_kind kind, ldx_error_code code, int attempt,
                      double elapsed, double delay);

/* A small generator, one per thread: what is drawn only has to differ between runs and threads. */
typedef struct ldx_random {
  uint64_t state;
} ldx_random;

void ldx_random_seed(ldx_random *random, uint64_t salt);
double ldx_random_next(ldx_random *random); /* in [0, 1) */

#endif
