/* The binding when Lua runs out of memory: every allocation of a script that uses all of it (memory/uses_all.lua) fails
 * once, each time in a state of its own. Nothing may leak, crash or hang; the leaks are for AddressSanitizer to find.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/fake/fake.h"
#include "lua/database.h"

int luaopen_lunadex_core(lua_State *L);

/* Which allocation fails, and the next one: Lua collects all garbage and asks once more. Those that shrink or free never
 * fail, Lua relies on it. */
typedef struct memory {
  long count, failing;
} memory;

static void *allocate(void *data, void *block, size_t old_size, size_t new_size) {
  memory *m = data;
  if (new_size == 0) {
    free(block);
    return NULL;
  }
  if (!block || new_size > old_size) {
    m->count++;
    if (m->failing && (m->count == m->failing || m->count == m->failing + 1)) return NULL;
  }
  return realloc(block, new_size);
}

static int run(lua_State *L) {
  luaL_openlibs(L);
  luaL_requiref(L, "lunadex.core", luaopen_lunadex_core, 0);
  if (luaL_loadfile(L, LDX_TEST_SCRIPTS "/uses_all.lua") != LUA_OK) return lua_error(L);
  lua_insert(L, -2);
  lua_call(L, 1, 0);
  return 0;
}

static int run_with(memory *m) {
  lua_State *L = lua_newstate(allocate, m);
  if (!L) return LUA_ERRMEM;
  lua_pushcfunction(L, run);
  int status = lua_pcall(L, 0, 0, 0);
  if (status == LUA_ERRRUN) print_message("%s\n", lua_tostring(L, -1));
  lua_close(L);
  assert_int_equal(ldx_fake_sessions(), 0);
  ldx_fake_reset();
  return status;
}

static void every_allocation_may_fail(void **state) {
  (void)state;
  ldx_lua_test_driver = &ldx_driver_fake;
  memory all = {0};
  assert_int_equal(run_with(&all), LUA_OK);
  assert_true(all.count > 300);
  /* How many there are differs a little from run to run, with the events that happen to come. */
  long failed = 0;
  for (long i = 1; i <= all.count; i++) {
    memory m = {.failing = i};
    int status = run_with(&m);
    assert_true(status == LUA_OK || status == LUA_ERRMEM);
    failed += status == LUA_ERRMEM;
  }
  print_message("%ld allocations, %ld runs ended by the one that failed\n", all.count, failed);
  assert_true(failed > all.count * 8 / 10); /* the rest is caught, or comes in a different order */
}

static void every_binding_is_in_the_script(void **state) {
  (void)state;
  ldx_lua_test_driver = &ldx_driver_fake;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  assert_int_equal(luaL_loadfile(L, LDX_TEST_SCRIPTS "/looks_for_bindings.lua"), LUA_OK);
  luaL_requiref(L, "lunadex.core", luaopen_lunadex_core, 0);
  lua_pushliteral(L, LDX_TEST_SCRIPTS "/uses_all.lua");
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
  lua_close(L);
  ldx_fake_reset();
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_binding_is_in_the_script),
                                     cmocka_unit_test(every_allocation_may_fail)};
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
