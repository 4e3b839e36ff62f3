/* The binding when Lua runs out of memory: every allocation of a script that uses all of it fails once, each time in a
 * state of its own. Nothing may leak, crash or hang; the leaks are for AddressSanitizer to find.
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

static const char script[] =
    "local core = ...\n"
    "local db <close> = assert(core.open('fake:memory?perform=note(x),fail(deadlock)', { jobs = 2 }))\n"
    "local function finish(job)\n"
    "  while true do\n"
    "    local event = db:poll(5)\n"
    "    if event and event.event == 'done' and event.job == job then return event end\n"
    "  end\n"
    "end\n"
    "finish(db:connect())\n"
    "local catalog = finish(db:catalog()).result\n"
    "local set <close> = core.declarations()\n"
    "set:add { kind = 'index', relation = 't', keys = { { column = 'a', opclass_options = { { 'n', 'v' } } } },\n"
    "  include = { 'b' }, where = 'x', with = { { 'fillfactor', '70' } } }\n"
    "set:add_relation('s', 't')\n"
    "set:text(1)\n"
    "set:fields(1)\n"
    "finish(db:resolve(set, catalog))\n"
    "local diff = core.diff(set, catalog)\n"
    "for change in diff:changes() do tostring(change.error) end\n"
    "tostring(db); tostring(set); tostring(catalog); tostring(diff)\n"
    "finish(db:query('SELECT', { 1, 'x', true, { 'a', core.null }, n = 6 }))\n"
    "finish(db:query(core.document('find', 't', 'filter', { a = core.list { 1, core.value('date', 2) }, b = 'c' },\n"
    "  'empty', {}, 'in', { ['$in'] = {} })))\n"
    "local batches = db:query('SELECT', nil, 1)\n"
    "repeat\n"
    "  local event = db:poll(5)\n"
    "  if event and event.event == 'rows' then db:more(batches) end\n"
    "until event and event.event == 'done'\n"
    "for name, value in pairs(core.document('a', 1, 'b', nil)) do tostring(value) end\n"
    "tostring(core.value('regex', 'a', 'i')); tostring(core.null)\n"
    "local same = core.value('binary', 'x') == core.value('binary', 'x', 1)\n"
    "finish(db:history('read', {})); finish(db:history('run', { '1', 2, true }))\n"
    "finish(db:transact 'begin'); finish(db:transact 'commit')\n"
    "finish(db:status())\n"
    "finish(db:measure {})\n"
    "finish(db:lock())\n"
    "finish(db:perform { kind = 'build', relation = 't', name = 'i', retry = { attempts = 2, first_delay = 0 },\n"
    "  fields = { kind = 'index', relation = 't', keys = { { column = 'a' } } } })\n"
    "finish(db:perform { kind = 'drop', relation = 't', name = 'i' })\n"
    "pcall(db.perform, db, { kind = 'drop', relation = 't', name = 7 })\n"
    "core.parse_sql 'CREATE INDEX i ON t (lower(a) text_ops DESC, b) WHERE c > 1'\n"
    "core.parse_sql 'CREATE INDEX i ON'\n"
    "core.check_expression 'a + 1'\n"
    "core.quote_name('a', 'b c')\n"
    "core.split_name 'a.b'\n"
    "core.open 'nonsense'\n"
    "core.describe { kind = 'drop', relation = 't', name = 'i' }\n"
    "core.list_directory '.'\n"
    "core.resolve_path '.'\n"
    "core.run_limited(function() return 1 end, { instructions = 1000, memory = 100000 })\n"
    "local copy = set:copy(); copy:twin(1); copy:count()\n"
    "core.declarations():add_plain({ 'a' }, 'index', nil, 't', { keys = {}, expressions = {} })\n"
    "catalog:relation('s', 't'); catalog:index('s', 'i'); catalog:relations()(); catalog:ending 'x'\n"
    "catalog:tablespaces(); diff:total 'keep'; core.current_line(); core.terminal(0); core.signal(); core.now()\n"
    "core.wait({ db }, 0); db:pending(); finish(db:unlock())\n"
    "db:cancel(db:query 'cancelled')\n"
    "local other = core.open 'fake:other'; other:close()\n"
    "db:query 'left alone'\n";

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
  if (luaL_loadstring(L, script) != LUA_OK) return lua_error(L);
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

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_may_fail)};
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
