/* What the driver knows of expression texts: brackets, and the spellings that the server prints back as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/postgres/render.h"
#include "drivers/postgres/text.h"

static void check(const char *given, const char *expected) {
  ldx_arena *arena = ldx_arena_new();
  assert_string_equal(ldx_pg_stable_spelling(arena, given), expected);
  ldx_arena_free(arena);
}

static void strips_only_what_encloses_all(void **state) {
  (void)state;
  static const char *const cases[][2] = {
      {"a", "a"},
      {"  (a > 1) ", "a > 1"},
      {"((a))", "a"},
      {"(a) + (b)", "(a) + (b)"},
      {"('(' || a)", "'(' || a"},
      {"(a = ')')", "a = ')'"},
      {"(\"odd)\" = 1)", "\"odd)\" = 1"},
      {"(a /* ) */ > 1)", "a /* ) */ > 1"},
      {"(f($$ ) $$))", "f($$ ) $$)"},
      {"(a = E'\\')')", "a = E'\\')'"},
      {"()", ""},
  };
  ldx_arena *arena = ldx_arena_new();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_string_equal(ldx_pg_strip_parentheses(arena, cases[i][0]), cases[i][1]);
  ldx_arena_free(arena);
}

static void keeps_the_element_type_of_arrays(void **state) {
  (void)state;
  check("(v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])",
        "(v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying]::character varying[])::text[])");
  check("x = ANY (ARRAY[1, 2])", "x = ANY (ARRAY[1, 2])");
  check("o = ANY ((ARRAY[26, 27])::oid[])", "o = ANY ((ARRAY[26, 27]::integer[])::oid[])");
  check("o = ANY ((ARRAY[0.5, 27])::money[])", "o = ANY ((ARRAY[0.5, 27]::numeric[])::money[])");
  /* Nothing tells the type of a column here. */
  check("x = ANY ((ARRAY[a, b])::text[])", "x = ANY ((ARRAY[a, b])::text[])");
  check("x = '(ARRAY[''a''::text])::varchar[]'", "x = '(ARRAY[''a''::text])::varchar[]'");
}

static void keeps_chains_apart(void **state) {
  (void)state;
  check("((a >= 1) AND (a <= 2)) AND (b > 3)", "((a >= 1) AND (a <= 2))::boolean AND (b > 3)");
  check("((a < 1) OR (a > 2)) OR (b > 3)", "((a < 1) OR (a > 2))::boolean OR (b > 3)");
  check("x AND (((a = 1) AND (b = 2)) AND c)", "x AND (((a = 1) AND (b = 2))::boolean AND c)");
  check("((a) AND (b)) AND\nCASE WHEN c THEN d END", "((a) AND (b))::boolean AND\nCASE WHEN c THEN d END");
  /* Not the first operand, another word, or alone: the parser keeps these by itself. */
  check("(b > 3) AND ((a >= 1) AND (a <= 2))", "(b > 3) AND ((a >= 1) AND (a <= 2))");
  check("((a >= 1) AND (a <= 2)) OR (b > 3)", "((a >= 1) AND (a <= 2)) OR (b > 3)");
  check("(a >= 1) AND (a <= 2)", "(a >= 1) AND (a <= 2)");
  check("(f(') AND (')) AND c", "(f(') AND (')) AND c");
}

static void check_flat(const char *given, const char *expected) {
  ldx_arena *arena = ldx_arena_new();
  const char *flat = ldx_pg_flat_chains(arena, given);
  assert_string_equal(flat ? flat : given, expected);
  ldx_arena_free(arena);
}

static void compares_chains_without_their_parentheses(void **state) {
  (void)state;
  check_flat("((a >= 1) AND (a <= 2)) AND (b > 3)", "(a >= 1) AND (a <= 2) AND (b > 3)");
  check_flat("(b > 3) AND ((a >= 1) AND (a <= 2))", "(b > 3) AND (a >= 1) AND (a <= 2)");
  check_flat("(((a OR b) OR c) OR d) OR e", "a OR b OR c OR d OR e");
  check_flat("x AND (((a = 1) AND (b = 2)) OR c)", "x AND (((a = 1) AND (b = 2)) OR c)");
  check_flat("NOT (a AND b) AND c", "NOT (a AND b) AND c");
  check_flat("NOT ((a AND b) AND c)", "NOT (a AND b AND c)");
  check_flat("f(a AND b) AND c", "f(a AND b) AND c");
  check_flat("d AND x = (a AND b) AND c", "d AND x = (a AND b) AND c");
  check_flat("(a AND b)::text = 'x' AND c", "(a AND b)::text = 'x' AND c");
  check_flat("(a = ') AND (') AND c", "(a = ') AND (') AND c");
  check_flat("((a) AND (b)) AND\nCASE\n    WHEN c THEN d\nEND", "(a) AND (b) AND\nCASE\n    WHEN c THEN d\nEND");
}

static void names_in_both_notations(void **state) {
  (void)state;
  static const struct {
    const char *text, *schema, *name, *sql, *display;
  } cases[] = {
      {"orders", NULL, "orders", "\"orders\"", "orders"},
      {"public.Orders", "public", "Orders", "\"public\".\"Orders\"", "public.Orders"},
      {"public.\"a.b\"", "public", "a.b", "\"public\".\"a.b\"", "public.\"a.b\""},
      {"\"say \"\"hi\"\"\".x", "say \"hi\"", "x", "\"say \"\"hi\"\"\".\"x\"", "\"say \"\"hi\"\"\".x"},
      {"\xc3\xbc.two words", "\xc3\xbc", "two words", "\"\xc3\xbc\".\"two words\"", "\xc3\xbc.two words"},
  };
  ldx_arena *arena = ldx_arena_new();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    ldx_name name;
    assert_true(ldx_pg_split_name(arena, cases[i].text, &name));
    if (cases[i].schema)
      assert_string_equal(name.schema, cases[i].schema);
    else
      assert_null(name.schema);
    assert_string_equal(name.name, cases[i].name);
    assert_string_equal(ldx_pg_quote_name(arena, name), cases[i].sql);
    assert_string_equal(ldx_pg_display_name(arena, name), cases[i].display);
  }
  static const char *const wrong[] = {"", ".", "a.", ".a", "a.b.c", "\"a", "\"\"", "a\"b\"", "\"a\"b"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ldx_name name;
    assert_false(ldx_pg_split_name(arena, wrong[i], &name));
  }
  ldx_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(strips_only_what_encloses_all),
      cmocka_unit_test(keeps_the_element_type_of_arrays),
      cmocka_unit_test(keeps_chains_apart),
      cmocka_unit_test(compares_chains_without_their_parentheses),
      cmocka_unit_test(names_in_both_notations),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
