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
    "local function finish(job, of)\n"
    "  while true do\n"
    "    local event = (of or db):poll(5)\n"
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
    "core.assigned_columns 'a = 1, (b, c) = (2, 3)'\n"
    "core.quote_name('a', 'b c')\n"
    "core.split_name 'a.b'\n"
    "core.open 'nonsense'\n"
    "core.describe { kind = 'drop', relation = 't', name = 'i' }\n"
    "core.list_directory '.'\n"
    "core.resolve_path '.'\n"
    "core.run_limited(function() for _ = 1, 300 do end end, { instructions = 1000, memory = 100000 })\n"
    "local copy = set:copy(); copy:twin(1); copy:count()\n"
    "core.declarations():add_plain({ 'a' }, 'index', nil, 't', { keys = {}, expressions = {} })\n"
    "catalog:relation('s', 't'); catalog:index('s', 'i'); catalog:relations()(); catalog:ending 'x'\n"
    "catalog:tablespaces(); diff:total 'keep'; core.current_line(); core.terminal(0); core.signal(); core.now()\n"
    "core.wait({ db }, 0); db:pending(); finish(db:unlock())\n"
    "db:cancel(db:query 'cancelled')\n"
    "local held <close> = assert(core.open 'fake:held?tables=t,u')\n"
    "local fields = { kind = 'index', relation = 't', keys = { { column = 'a' } } }\n"
    "assert(finish(held:perform { kind = 'build', relation = 't', name = 'i', fields = fields }, held).ok)\n"
    "local live = finish(held:catalog(), held).result\n"
    "local relation = live:relation(nil, 't')\n"
    "relation:columns(); relation:partitions(); tostring(relation); local _ = relation.display, relation.family\n"
    "local wanted <close> = core.declarations(); wanted:add(fields)\n"
    "finish(held:resolve(wanted, live), held)\n"
    "local index = relation:indexes()[1]\n"
    "index:fields(); index:equals(index); index:matches(wanted, 1, { storage = true }); tostring(index)\n"
    "_ = index.text, index.relation\n"
    "finish(held:measure { { relation = relation, index = index, fields = fields } }, held)\n"
    "for _, relation, index in core.diff(wanted, live):pairs() do tostring(relation) end\n"
    "wanted:overlapping(core.diff(wanted, live))\n"
    "core.nearest('ab', { 'abc' }); core.writable(1); core.private_file '/dev/null'; pcall(core.editor, print)\n"
    "coroutine.wrap(function() core.call_while_computing(function() return {} end) for _ = 1, 3e4 do end end)()\n"
    "core.catch_signals(); core.forget_signal()\n"
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

/* What a binding is called by is in the script, unless it is nobody's to call without a terminal. */
static const char looks_for_bindings[] =
    "local core, script = ...\n"
    "local db <close> = core.open 'fake:classes?tables=t'\n"
    "local function finish(job)\n"
    "  while true do\n"
    "    local event = db:poll(5)\n"
    "    if event and event.job == job and event.event == 'done' then return event.result end\n"
    "  end\n"
    "end\n"
    "local fields = { kind = 'index', relation = 't', keys = { { column = 'a' } } }\n"
    "finish(db:perform { kind = 'build', relation = 't', name = 'i', fields = fields })\n"
    "local catalog, set = finish(db:catalog()), core.declarations()\n"
    "finish(db:resolve(set, catalog))\n"
    "local relation = catalog:relation(nil, 't')\n"
    "local missing, seen = {}, 0\n"
    "local function look(names, form)\n"
    "  for name, value in pairs(names) do\n"
    "    if type(value) == 'function' then\n"
    "      seen = seen + 1\n"
    "      if not script:find(form:format(name)) then missing[#missing + 1] = name end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "look(core, '%%f[%%w]core%%.%s%%f[^%%w_]')\n"
    "for _, object in ipairs { db, set, catalog, core.diff(set, catalog), relation, relation:indexes()[1] } do\n"
    "  local methods = debug.getmetatable(object).__index\n"
    "  if type(methods) == 'function' then methods = select(2, debug.getupvalue(methods, 1)) end\n"
    "  look(methods, '[:.]%s%%f[^%%w_]')\n"
    "end\n"
    "assert(seen > 50, seen)\n"
    "assert(#missing == 0, 'no allocation is made to fail in: ' .. table.concat(missing, ', '))\n";

static void every_binding_is_in_the_script(void **state) {
  (void)state;
  ldx_lua_test_driver = &ldx_driver_fake;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  assert_int_equal(luaL_loadstring(L, looks_for_bindings), LUA_OK);
  luaL_requiref(L, "lunadex.core", luaopen_lunadex_core, 0);
  lua_pushstring(L, script);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) fail_msg("%s", lua_tostring(L, -1));
  lua_close(L);
  ldx_fake_reset();
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_binding_is_in_the_script),
                                     cmocka_unit_test(every_allocation_may_fail)};
  return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
