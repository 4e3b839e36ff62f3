/* Delays, and what is tried again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/retry.h"

static void delays_grow_to_the_cap(void **state) {
  (void)state;
  const ldx_retry_policy policy = {.attempts = 10, .first_delay = 1, .factor = 2, .max_delay = 10};
  const double expected[] = {1, 2, 4, 8, 10, 10};
  for (int i = 0; i < 6; i++) assert_true(ldx_retry_delay(&policy, i + 1, 1) == expected[i]);
  assert_true(ldx_retry_delay(&policy, 1000000, 1) == 10);
}

static void jitter_is_full(void **state) {
  (void)state;
  ldx_random random;
  ldx_random_seed(&random, 1);
  double least = 1e9, most = 0;
  for (int i = 0; i < 10000; i++) {
    double delay = ldx_retry_delay(&ldx_retry_default, 4, ldx_random_next(&random));
    assert_true(delay >= 0 && delay < 8);
    if (delay < least) least = delay;
    if (delay > most) most = delay;
  }
  assert_true(least < 0.1 && most > 7.9);
}

static void threads_draw_differently(void **state) {
  (void)state;
  ldx_random a, b;
  ldx_random_seed(&a, 1);
  ldx_random_seed(&b, 2);
  assert_true(ldx_random_next(&a) != ldx_random_next(&b));
}

static void odd_policies_do_no_harm(void **state) {
  (void)state;
  const ldx_retry_policy none = {0};
  assert_true(ldx_retry_delay(&none, 3, 0.5) == 0);
  assert_false(ldx_retry_wanted(&none, LDX_JOB_PERFORM, LDX_ERROR_DEADLOCK, 1, 0, 0));
  const ldx_retry_policy shrinking = {.attempts = 5, .first_delay = 1, .factor = 0.1, .max_delay = 9};
  assert_true(ldx_retry_delay(&shrinking, 4, 1) == 1);
}

static void only_what_may_be_sent_again_is(void **state) {
  (void)state;
  const ldx_retry_policy *policy = &ldx_retry_default;
  assert_true(ldx_retry_wanted(policy, LDX_JOB_PERFORM, LDX_ERROR_LINK_LOST, 1, 0, 1));
  assert_true(ldx_retry_wanted(policy, LDX_JOB_PERFORM, LDX_ERROR_LOCK_TIMEOUT, 1, 0, 1));
  assert_true(ldx_retry_wanted(policy, LDX_JOB_CATALOG, LDX_ERROR_TERMINATED, 1, 0, 1));
  assert_true(ldx_retry_wanted(policy, LDX_JOB_QUERY, LDX_ERROR_CONNECT, 1, 0, 1));
  assert_true(ldx_retry_wanted(policy, LDX_JOB_QUERY, LDX_ERROR_DEADLOCK, 1, 0, 1));
  assert_false(ldx_retry_wanted(policy, LDX_JOB_QUERY, LDX_ERROR_LINK_LOST, 1, 0, 1));
  assert_true(ldx_retry_wanted(policy, LDX_JOB_LOCK, LDX_ERROR_CONNECT, 1, 0, 1));
  assert_false(ldx_retry_wanted(policy, LDX_JOB_LOCK, LDX_ERROR_LOCK_HELD, 1, 0, 1));
  assert_false(ldx_retry_wanted(policy, LDX_JOB_UNLOCK, LDX_ERROR_CONNECT, 1, 0, 1));
  assert_false(ldx_retry_wanted(policy, LDX_JOB_PERFORM, LDX_ERROR_DUPLICATE_KEY, 1, 0, 1));
  assert_false(ldx_retry_wanted(policy, LDX_JOB_PERFORM, LDX_ERROR_CANCELLED, 1, 0, 1));
  assert_false(ldx_retry_wanted(policy, LDX_JOB_PERFORM, LDX_ERROR_DEADLOCK, 10, 0, 1));
}

static void the_total_is_not_exceeded(void **state) {
  (void)state;
  const ldx_retry_policy policy = {.attempts = 100, .first_delay = 1, .factor = 2, .max_delay = 60, .total = 10};
  assert_true(ldx_retry_wanted(&policy, LDX_JOB_PERFORM, LDX_ERROR_DEADLOCK, 3, 5, 4));
  assert_false(ldx_retry_wanted(&policy, LDX_JOB_PERFORM, LDX_ERROR_DEADLOCK, 3, 5, 6));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(delays_grow_to_the_cap),         cmocka_unit_test(jitter_is_full),
      cmocka_unit_test(threads_draw_differently),       cmocka_unit_test(odd_policies_do_no_harm),
      cmocka_unit_test(only_what_may_be_sent_again_is), cmocka_unit_test(the_total_is_not_exceeded),
  };
  return cmocka_run_group_tests_name("retry", tests, NULL, NULL);
}
