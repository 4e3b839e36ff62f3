/* Definitions, fingerprints and the diff, on catalogs made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lunadex/diff.h"
#include "model/catalog.h"

/* --- a small world ------------------------------------------------------------------------------------------------ */

static ldx_definition definition(ldx_arena *arena, const char *column, const char *predicate) {
  ldx_definition d = {.kind = LDX_KIND_INDEX, .relation = {"public", "orders"}, .method = "btree", .key_count = 1};
  d.keys = LDX_ARENA_NEW(arena, ldx_key, 1);
  d.keys[0].column = column;
  d.predicate = predicate;
  return d;
}

static ldx_options one_option(ldx_arena *arena, const char *name, const char *value) {
  ldx_options options = {1, LDX_ARENA_NEW(arena, ldx_option, 1)};
  options.items[0] = (ldx_option){name, value};
  return options;
}

typedef struct world {
  ldx_catalog *catalog;
  ldx_arena *arena;
  ldx_relation *orders, *other;
  ldx_declarations *set;
} world;

static bool unless_partitioned(const ldx_definition *declared, const ldx_live *live) {
  (void)declared;
  return !live->partitioned;
}

static int setup(void **state) {
  static const ldx_dialect dialect = {.name = "a database", .can_alter = unless_partitioned};
  static world w;
  w.catalog = ldx_catalog_new(&dialect);
  w.arena = ldx_catalog_arena(w.catalog);
  w.orders = ldx_catalog_add_relation(w.catalog, (ldx_name){"public", "orders"}, 1);
  w.other = ldx_catalog_add_relation(w.catalog, (ldx_name){"public", "another"}, 2);
  w.set = ldx_declarations_new();
  *state = &w;
  return 0;
}

static int teardown(void **state) {
  world *w = *state;
  ldx_declarations_free(w->set);
  ldx_catalog_release(w->catalog);
  return 0;
}

static ldx_live *live(world *w, uint32_t id, const char *name, ldx_definition d) {
  ldx_live *entry = ldx_catalog_add_live(w->catalog, w->orders, name, id, LDX_ARENA_NEW(w->arena, ldx_definition, 1));
  *entry->definition = d;
  entry->valid = entry->ready = entry->live = true;
  return entry;
}

static ldx_declared *declare(world *w, const char *name, ldx_definition d) {
  ldx_declared *entry = ldx_declarations_add(w->set);
  ldx_definition *definition = LDX_ARENA_NEW(w->arena, ldx_definition, 1);
  *definition = d;
  entry->definition = entry->canonical = definition;
  entry->name = name;
  entry->relation = w->orders;
  entry->fingerprint = ldx_definition_fingerprint(&d);
  entry->resolved = true;
  return entry;
}

static ldx_diff *diff(world *w) {
  ldx_catalog_finish(w->catalog);
  return ldx_diff_make(w->arena, w->set, w->catalog);
}

/* --- fingerprints ------------------------------------------------------------------------------------------------- */

static void every_part_counts(void **state) {
  world *w = *state;
  ldx_definition base = definition(w->arena, "a", NULL);
  ldx_definition variants[10];
  size_t count = 0;
#define VARIANT(change)                                                                                                \
  do {                                                                                                                 \
    ldx_definition d = definition(w->arena, "a", NULL);                                                                \
    change;                                                                                                            \
    variants[count++] = d;                                                                                             \
  } while (0)
  VARIANT(d.keys[0].column = "b");
  VARIANT(d.keys[0].descending = true);
  VARIANT(d.keys[0].nulls_first = true);
  VARIANT(d.keys[0].opclass = "text_pattern_ops");
  VARIANT(d.keys[0].collation = "C");
  VARIANT((d.keys[0].column = NULL, d.keys[0].expression = "a"));
  VARIANT(d.unique = true);
  VARIANT(d.predicate = "a > 1");
  VARIANT(d.method = "hash");
  VARIANT(d.kind = LDX_KIND_UNIQUE);
#undef VARIANT
  for (size_t i = 0; i < count; i++) {
    ldx_fingerprint own = ldx_definition_fingerprint(&variants[i]);
    assert_false(ldx_fingerprint_equal(own, ldx_definition_fingerprint(&base)));
    for (size_t j = 0; j < i; j++) assert_false(ldx_fingerprint_equal(own, ldx_definition_fingerprint(&variants[j])));
  }
}

/* Of any length, each byte counts, wherever a buffer may end. */
static void long_parts_count(void **state) {
  world *w = *state;
  char text[1400] = "";
  ldx_fingerprint before = {0};
  for (size_t length = 1; length<sizeof text; length += length> 380 && length < 560 ? 1 : 37) {
    ldx_definition one = definition(w->arena, "a", text), other = definition(w->arena, "a", text);
    memset(text, 'x', length);
    text[length] = '\0';
    one.predicate = other.predicate = text;
    ldx_fingerprint own = ldx_definition_fingerprint(&one);
    assert_true(ldx_fingerprint_equal(own, ldx_definition_fingerprint(&other)));
    assert_false(ldx_fingerprint_equal(own, before));
    before = own;
    for (size_t i = 0; i < 3; i++) {
      size_t at = i * (length - 1) / 2;
      text[at] = 'y';
      assert_false(ldx_fingerprint_equal(own, ldx_definition_fingerprint(&one)));
      text[at] = 'x';
    }
    one.keys[0].column = "b";
    assert_false(ldx_fingerprint_equal(own, ldx_definition_fingerprint(&one)));
  }
}

static void what_can_be_altered_is_left_out(void **state) {
  world *w = *state;
  ldx_definition plain = definition(w->arena, "a", NULL), filled = plain, brin = plain, coarse;
  filled.storage = one_option(w->arena, "fillfactor", "70");
  assert_true(ldx_fingerprint_equal(ldx_definition_fingerprint(&plain), ldx_definition_fingerprint(&filled)));
  assert_false(ldx_definition_storage_equal(&plain, &filled));
  brin.method = "brin";
  coarse = brin;
  coarse.storage = one_option(w->arena, "pages_per_range", "16");
  assert_false(ldx_fingerprint_equal(ldx_definition_fingerprint(&brin), ldx_definition_fingerprint(&coarse)));
  ldx_definition on = plain, also_on = plain;
  on.storage = one_option(w->arena, "fastupdate", "on");
  also_on.storage = one_option(w->arena, "fastupdate", "TRUE");
  assert_true(ldx_definition_storage_equal(&on, &also_on));
  also_on.storage = one_option(w->arena, "fastupdate", "1");
  assert_true(ldx_definition_storage_equal(&on, &also_on));
  also_on.storage = one_option(w->arena, "fastupdate", "of");
  assert_false(ldx_definition_storage_equal(&on, &also_on));
  on.storage = one_option(w->arena, "pages_per_range", "1");
  also_on.storage = one_option(w->arena, "pages_per_range", "on");
  assert_false(ldx_definition_storage_equal(&on, &also_on));
}

/* --- the diff ----------------------------------------------------------------------------------------------------- */

static void matches_by_definition_never_by_name(void **state) {
  world *w = *state;
  live(w, 10, "ABCD", definition(w->arena, "a", NULL));
  live(w, 11, "ORDER1", definition(w->arena, "c", NULL));
  declare(w, "HIST1", definition(w->arena, "a", NULL));
  declare(w, "ORDERS1", definition(w->arena, "b", NULL));
  ldx_diff *d = diff(w);
  assert_int_equal(d->count, 3);
  assert_int_equal(d->items[0].action, LDX_ACTION_KEEP);
  assert_true(d->items[0].name_differs);
  assert_string_equal(d->items[0].live->name, "ABCD");
  assert_int_equal(d->items[1].action, LDX_ACTION_CREATE);
  assert_int_equal(d->items[2].action, LDX_ACTION_STRAY);
  assert_string_equal(d->items[2].live->name, "ORDER1");
}

static void duplicates_match_one_to_one(void **state) {
  world *w = *state;
  live(w, 10, "x1", definition(w->arena, "a", NULL));
  live(w, 11, "x2", definition(w->arena, "a", NULL));
  live(w, 12, "x3", definition(w->arena, "a", NULL));
  declare(w, NULL, definition(w->arena, "a", NULL));
  declare(w, "x1", definition(w->arena, "a", NULL));
  ldx_diff *d = diff(w);
  assert_string_equal(d->items[1].live->name, "x1");
  assert_string_equal(d->items[0].live->name, "x2");
  assert_int_equal(d->items[2].action, LDX_ACTION_STRAY);
  assert_true(d->items[2].duplicate);
}

static void invalid_ones_are_rebuilt_and_namesakes_replaced(void **state) {
  world *w = *state;
  live(w, 10, "broken", definition(w->arena, "a", NULL))->valid = false;
  live(w, 11, "due", definition(w->arena, "b", NULL));
  declare(w, "broken", definition(w->arena, "a", NULL));
  declare(w, "due", definition(w->arena, "b", "paid IS NULL"));
  ldx_diff *d = diff(w);
  assert_int_equal(d->count, 2);
  assert_int_equal(d->items[0].action, LDX_ACTION_REBUILD);
  assert_int_equal(d->items[1].action, LDX_ACTION_REPLACE);
  assert_string_equal(d->items[1].reason, "predicate differs: live has no WHERE");
}

static void keys_are_never_stray_and_serve_as_indexes(void **state) {
  world *w = *state;
  ldx_definition key = definition(w->arena, "a", NULL), index = key;
  key.kind = LDX_KIND_UNIQUE;
  key.unique = index.unique = true;
  live(w, 10, "a_key", key)->constraint_id = 99;
  declare(w, "a_unique", index);
  ldx_diff *d = diff(w);
  assert_int_equal(d->count, 1);
  assert_int_equal(d->items[0].action, LDX_ACTION_KEEP);
  assert_true(d->items[0].satisfied_by_key);
}

static void a_key_takes_over_a_stray_unique_index(void **state) {
  world *w = *state;
  ldx_definition key = definition(w->arena, "a", NULL), index = key;
  key.kind = LDX_KIND_PRIMARY_KEY;
  key.unique = index.unique = true;
  live(w, 10, "a_unique", index);
  declare(w, "orders_pkey", key);
  ldx_diff *d = diff(w);
  assert_int_equal(d->count, 1);
  assert_int_equal(d->items[0].action, LDX_ACTION_CREATE);
  assert_true(d->items[0].use_existing);
}

static void what_others_own_is_left_alone(void **state) {
  world *w = *state;
  live(w, 10, "of_extension", definition(w->arena, "a", NULL))->extension_owned = true;
  live(w, 11, "of_parent", definition(w->arena, "b", NULL))->inherited = true;
  ldx_declarations_add_relation(w->set, (ldx_name){"public", "orders"});
  ldx_diff *d = diff(w);
  assert_int_equal(d->count, 0);
}

static void a_partition_s_own_index_is_not_the_parent_s(void **state) {
  world *w = *state;
  ldx_live *parent =
      ldx_catalog_add_live(w->catalog, w->other, "parent_a", 20, LDX_ARENA_NEW(w->arena, ldx_definition, 1));
  *parent->definition = definition(w->arena, "a", NULL);
  parent->valid = parent->ready = parent->live = true;
  ldx_live *child = live(w, 10, "orders_a", definition(w->arena, "a", NULL));
  child->inherited = true;
  child->parent = parent;
  declare(w, "loose", definition(w->arena, "a", NULL));
  /* By definition it is the same, as long as the registry does not speak of the parent. */
  ldx_diff *d = diff(w);
  assert_int_equal(d->items[0].action, LDX_ACTION_KEEP);
  ldx_declarations_add_relation(w->set, (ldx_name){"public", "another"});
  d = ldx_diff_make(w->arena, w->set, w->catalog);
  assert_int_equal(d->items[0].action, LDX_ACTION_CREATE);
}

static void only_relations_of_the_registry_have_strays(void **state) {
  world *w = *state;
  live(w, 10, "tmp_idx", definition(w->arena, "a", NULL));
  assert_int_equal(diff(w)->count, 0);
  ldx_declarations_add_relation(w->set, (ldx_name){"public", "orders"});
  ldx_diff *d = ldx_diff_make(w->arena, w->set, w->catalog);
  assert_int_equal(d->by_action[LDX_ACTION_STRAY], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(every_part_counts),
      TEST(long_parts_count),
      TEST(what_can_be_altered_is_left_out),
      TEST(matches_by_definition_never_by_name),
      TEST(duplicates_match_one_to_one),
      TEST(invalid_ones_are_rebuilt_and_namesakes_replaced),
      TEST(keys_are_never_stray_and_serve_as_indexes),
      TEST(a_key_takes_over_a_stray_unique_index),
      TEST(what_others_own_is_left_alone),
      TEST(a_partition_s_own_index_is_not_the_parent_s),
      TEST(only_relations_of_the_registry_have_strays),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
