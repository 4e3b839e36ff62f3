/* Passwords stay out of messages, whatever the target looks like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/redact.h"

static void check(const char *target, const char *message, const char *expected) {
  ldx_secrets secrets = {0};
  char text[256];
  snprintf(text, sizeof text, "%s", message);
  ldx_secrets_of_target(&secrets, target);
  ldx_redact(&secrets, text, sizeof text);
  ldx_redact_quoted(target, text, sizeof text);
  ldx_secrets_free(&secrets);
  assert_string_equal(text, expected);
}

static void secrets_of_targets(void **state) {
  (void)state;
  check("postgres://u:hunter2@h/db", "bad \"hunter2\" hunter2", "bad \"***\" ***");
  check("postgres://u:hun%74er2@h/db", "hun%74er2 or hunter2", "*** or ***");
  check("postgres://u:a@b@h/db", "a@b@h", "***@h");
  check("postgres://h/db?password=hunter2&x=1", "hunter2&x=1", "***&x=1");
  check("host=h password='two words' user=u", "two words", "***");
  check("host=h PASSWORD = hunter2", "hunter2", "***");
  check("host=h user=u", "nothing to hide", "nothing to hide");
}

static void unquoted_passwords(void **state) {
  (void)state;
  check("host=h password=two words", "missing \"=\" after \"words\"", "missing \"=\" after \"***\"");
  check("host=h pasword=x", "invalid connection option \"pasword\"", "invalid connection option \"pasword\"");
}

static void short_and_public_ones(void **state) {
  (void)state;
  ldx_secrets secrets = {0};
  ldx_secrets_add(&secrets, "postgres");
  ldx_secrets_add(&secrets, "ab");
  ldx_secrets_add(&secrets, "hunter2");
  ldx_secrets_forget(&secrets, "postgres");
  assert_int_equal(secrets.count, 1);
  assert_string_equal(secrets.items[0], "hunter2");
  ldx_secrets_free(&secrets);
}

static void ambiguous_urls(void **state) {
  (void)state;
  assert_true(ldx_target_is_ambiguous("postgres://u:p@ss@h/db"));
  assert_true(ldx_target_is_ambiguous("postgres://u:p/ss@h/db"));
  assert_false(ldx_target_is_ambiguous("postgres://u:p@h/db"));
  assert_false(ldx_target_is_ambiguous("postgres://u:p@h/db?options=a@b"));
  assert_false(ldx_target_is_ambiguous("postgres://h:5432/d@b"));
  assert_false(ldx_target_is_ambiguous("postgres:///db?user=a@b"));
  assert_false(ldx_target_is_ambiguous("host=h password=a@b/c@d"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(secrets_of_targets),
      cmocka_unit_test(unquoted_passwords),
      cmocka_unit_test(short_and_public_ones),
      cmocka_unit_test(ambiguous_urls),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
