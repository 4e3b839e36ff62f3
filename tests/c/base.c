/* base.c: arena, buffer, distance of words, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* cmocka wants the above before it. */
#include <cmocka.h>

#include "base/buffer.h"
#include "base/distance.h"
#include "lunadex/arena.h"
#include "lunadex/error.h"

static void arena_gives_zeroed_aligned_memory(void **state) {
  (void)state;
  ldx_arena *arena = ldx_arena_new();
  size_t asked = 0;
  for (size_t size = 0; size < 70000; size = size * 2 + 1) {
    unsigned char *memory = ldx_arena_alloc(arena, size);
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
    for (size_t i = 0; i < size; i++) assert_int_equal(memory[i], 0);
    /* The next one must not overlap: whatever is written here would show there. */
    memset(memory, 0xa5, size);
    asked += size;
  }
  assert_true(ldx_arena_size(arena) >= asked);
  ldx_arena_free(arena);
  ldx_arena_free(NULL);
}

static void arena_copies_text(void **state) {
  (void)state;
  ldx_arena *arena = ldx_arena_new();
  assert_null(ldx_arena_strdup(arena, NULL));
  assert_string_equal(ldx_arena_strdup(arena, "index"), "index");
  assert_string_equal(ldx_arena_strndup(arena, "index", 2), "in");
  assert_string_equal(ldx_arena_printf(arena, "%d %s", 7, "indexes"), "7 indexes");
  ldx_arena_free(arena);
}

static void buffer_grows(void **state) {
  (void)state;
  ldx_arena *arena = ldx_arena_new();
  for (int in_arena = 0; in_arena < 2; in_arena++) {
    ldx_buffer buffer;
    ldx_buffer_init(&buffer, in_arena ? arena : NULL);
    assert_string_equal(ldx_buffer_string(&buffer), "");
    for (int i = 0; i < 10000; i++) ldx_buffer_appendf(&buffer, "%d,", i % 10);
    assert_int_equal(buffer.length, 20000);
    assert_int_equal(strlen(ldx_buffer_string(&buffer)), 20000);
    ldx_buffer_clear(&buffer);
    ldx_buffer_append(&buffer, NULL);
    ldx_buffer_append_char(&buffer, 'a');
    ldx_buffer_append_bytes(&buffer, "bcd", 2);
    assert_string_equal(ldx_buffer_string(&buffer), "abc");
    ldx_buffer_free(&buffer);
    ldx_buffer_free(&buffer);
  }
  ldx_arena_free(arena);
}

static void ages_are_as_long_as_need_be(void **state) {
  (void)state;
  static const struct {
    double seconds;
    const char *text;
  } ages[] = {{-3, "0:00"},
              {48.9, "0:48"},
              {3599, "59:59"},
              {3600, "1:00:00"},
              {86399, "23:59:59"},
              {2 * 86400 + 3 * 3600 + 4 * 60 + 5, "2 days 3:04:05"},
              {86400, "1 days 0:00:00"}};
  ldx_buffer buffer;
  ldx_buffer_init(&buffer, NULL);
  for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
    ldx_buffer_clear(&buffer);
    ldx_buffer_append_age(&buffer, ages[i].seconds);
    assert_string_equal(ldx_buffer_string(&buffer), ages[i].text);
  }
  ldx_buffer_free(&buffer);
}

static void errors_are_filled_and_cut(void **state) {
  (void)state;
  ldx_error error;
  assert_false(ldx_error_set(&error, LDX_ERROR_DEADLOCK, "process %d waits", 42));
  assert_int_equal(error.code, LDX_ERROR_DEADLOCK);
  assert_string_equal(error.message, "process 42 waits");
  assert_string_equal(error.hint, "");
  ldx_error_hint(&error, "Try %s.", "again");
  assert_string_equal(error.hint, "Try again.");
  char longer[4096];
  memset(longer, 'x', sizeof longer - 1);
  longer[sizeof longer - 1] = '\0';
  ldx_error_set(&error, LDX_ERROR_SERVER, "%s", longer);
  assert_int_equal(strlen(error.message), sizeof error.message - 1);
  assert_false(ldx_error_set(NULL, LDX_ERROR_SERVER, "nobody asks"));
}

static void slips_are_counted(void **state) {
  (void)state;
  assert_int_equal(ldx_distance("unique", "UNIQUE"), 0);
  assert_int_equal(ldx_distance("uniqe", "unique"), 1);
  assert_int_equal(ldx_distance("idnex", "index"), 1);
  assert_int_equal(ldx_distance("", "abc"), 3);
  assert_true(ldx_distance_near("onn", "on"));
  assert_false(ldx_distance_near("x", "y"));
  assert_false(ldx_distance_near("indexes", "relation"));
  char word[100] = {0}, other[100] = {0};
  memset(word, 'a', 99);
  memset(other, 'a', 98);
  assert_true(ldx_distance_near(word, word));
  assert_false(ldx_distance_near(word, other));
}

static void every_code_has_a_name_of_its_own(void **state) {
  (void)state;
  static const ldx_error_code codes[] = {
#define X(id, name, retry) LDX_ERROR_##id,
    LDX_ERROR_CODES(X)
#undef X
  };
  size_t count = sizeof codes / sizeof codes[0];
  for (size_t i = 0; i < count; i++)
    for (size_t k = i + 1; k < count; k++) assert_string_not_equal(ldx_error_name(codes[i]), ldx_error_name(codes[k]));
  assert_int_equal(ldx_error_retry(LDX_ERROR_LOCK_TIMEOUT), LDX_RETRY_AGAIN);
  assert_int_equal(ldx_error_retry(LDX_ERROR_LINK_LOST), LDX_RETRY_VERIFY);
  assert_int_equal(ldx_error_retry(LDX_ERROR_CONNECT), LDX_RETRY_RECONNECT);
  assert_int_equal(ldx_error_retry(LDX_ERROR_DUPLICATE_KEY), LDX_RETRY_NEVER);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_gives_zeroed_aligned_memory),
      cmocka_unit_test(arena_copies_text),
      cmocka_unit_test(buffer_grows),
      cmocka_unit_test(ages_are_as_long_as_need_be),
      cmocka_unit_test(errors_are_filled_and_cut),
      cmocka_unit_test(slips_are_counted),
      cmocka_unit_test(every_code_has_a_name_of_its_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
