#include "lua/step.h"

#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#include "engine/retry.h"
#include "lua/database.h"
#include "lua/definition.h"
#include "lua/userdata.h"

static const char *const kinds[] = {
    [LDX_STEP_BUILD] = "build",       [LDX_STEP_ATTACH] = "attach", [LDX_STEP_DROP] = "drop",
    [LDX_STEP_RENAME] = "rename",     [LDX_STEP_SWAP] = "swap",     [LDX_STEP_ALTER] = "alter",
    [LDX_STEP_VALIDATE] = "validate", [LDX_STEP_AWAIT] = "await",   [LDX_STEP_DROP_CONSTRAINT] = "drop_constraint",
};
static const char *const modes[] = {
    [LDX_MODE_AUTO] = "auto", [LDX_MODE_CONCURRENT] = "concurrent", [LDX_MODE_BLOCKING] = "blocking"};

/* Each of these reads one field of the table at index `table`; `argument` is blamed. [-0, +0, v] */

static void complain(lua_State *L, int argument, const char *field, const char *expected) {
  luaL_argerror(L, argument,
                lua_pushfstring(L, "field '%s': %s expected, got %s", field, expected, luaL_typename(L, -1)));
}

static int raw(lua_State *L, int table, const char *field) {
  lua_pushstring(L, field);
  return lua_rawget(L, table);
}

static const char *text(lua_State *L, int table, int argument, const char *field, ldx_arena *arena) {
  const char *value = NULL;
  int type = raw(L, table, field);
  if (type == LUA_TSTRING) {
    size_t length;
    const char *string = lua_tolstring(L, -1, &length);
    if (memchr(string, '\0', length)) complain(L, argument, field, "string without zero bytes");
    value = ldx_arena_strndup(arena, string, length);
  } else if (type != LUA_TNIL) {
    complain(L, argument, field, "string");
  }
  lua_pop(L, 1);
  return value;
}

static double number(lua_State *L, int table, int argument, const char *field, double otherwise) {
  int type = raw(L, table, field);
  if (type != LUA_TNUMBER && type != LUA_TNIL) complain(L, argument, field, "number");
  double value = type == LUA_TNIL ? otherwise : lua_tonumber(L, -1);
  if (!(value >= 0) && type != LUA_TNIL) complain(L, argument, field, "number that is not negative");
  lua_pop(L, 1);
  return value;
}

static bool flag(lua_State *L, int table, int argument, const char *field) {
  int type = raw(L, table, field);
  if (type != LUA_TBOOLEAN && type != LUA_TNIL) complain(L, argument, field, "boolean");
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static ldx_strings strings(lua_State *L, int table, int argument, const char *field, ldx_arena *arena) {
  ldx_strings list = {0};
  int type = raw(L, table, field);
  if (type != LUA_TTABLE && type != LUA_TNIL) complain(L, argument, field, "list of strings");
  if (type == LUA_TTABLE) {
    list.count = (size_t)lua_rawlen(L, -1);
    list.items = LDX_ARENA_NEW(arena, const char *, list.count + 1);
    for (size_t i = 0; i < list.count; i++) {
      if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING) complain(L, argument, field, "list of strings");
      list.items[i] = ldx_arena_strdup(arena, lua_tostring(L, -1));
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return list;
}

static int choice(lua_State *L, int table, int argument, const char *field, const char *const *words, int count,
                  int otherwise) {
  int found = -1;
  int type = raw(L, table, field);
  if (type == LUA_TNIL) found = otherwise;
  for (int i = 0; type == LUA_TSTRING && i < count; i++)
    if (strcmp(words[i], lua_tostring(L, -1)) == 0) found = i;
  if (found < 0) complain(L, argument, field, "a word that means something here");
  lua_pop(L, 1);
  return found;
}

static const ldx_lua_fields *definition(lua_State *L, int table, int argument, const char *field, ldx_arena *arena) {
  ldx_lua_fields *fields = NULL;
  if (raw(L, table, field) != LUA_TNIL) {
    fields = LDX_ARENA_NEW(arena, ldx_lua_fields, 1);
    ldx_lua_check_fields_at(L, -1, argument, arena, fields);
  }
  lua_pop(L, 1);
  return fields;
}

/* The policy in the table at `table`, for what it leaves out as `retry` was. */
static void read_policy(lua_State *L, int table, int argument, ldx_retry_policy *retry) {
  double attempts = number(L, table, argument, "attempts", retry->attempts);
  retry->attempts = attempts < 1 ? 1 : attempts > 1e6 ? 1000000 : (int)attempts;
  retry->first_delay = number(L, table, argument, "first_delay", retry->first_delay);
  retry->factor = number(L, table, argument, "factor", retry->factor);
  retry->max_delay = number(L, table, argument, "max_delay", retry->max_delay);
  retry->total = number(L, table, argument, "total", retry->total);
}

static void read_retry(lua_State *L, int table, int argument, ldx_retry_policy *retry) {
  *retry = ldx_retry_default;
  int type = raw(L, table, "retry");
  if (type != LUA_TTABLE && type != LUA_TNIL) complain(L, argument, "retry", "table");
  if (type == LUA_TTABLE) read_policy(L, lua_gettop(L), argument, retry);
  lua_pop(L, 1);
}

void ldx_lua_opt_retry(lua_State *L, int argument, ldx_retry_policy *retry) {
  if (lua_isnoneornil(L, argument)) return;
  luaL_checktype(L, argument, LUA_TTABLE);
  *retry = ldx_retry_default;
  read_policy(L, argument, argument, retry);
}

int ldx_lua_retry_delay(lua_State *L) {
  lua_Integer attempt = luaL_checkinteger(L, 1);
  luaL_argcheck(L, attempt >= 1 && attempt <= INT_MAX, 1, "the number of an attempt expected");
  double elapsed = luaL_checknumber(L, 2), random = luaL_checknumber(L, 3);
  ldx_retry_policy retry = ldx_retry_default;
  ldx_lua_opt_retry(L, 4, &retry);
  double delay = ldx_retry_delay(&retry, (int)attempt, random);
  if (!ldx_retry_left(&retry, (int)attempt, elapsed, delay)) return 0;
  lua_pushnumber(L, delay);
  return 1;
}

/* A list of fields with names. */
static void read_companions(lua_State *L, int table, int argument, ldx_arena *arena, ldx_step *step) {
  int type = raw(L, table, "companions");
  if (type != LUA_TTABLE && type != LUA_TNIL) complain(L, argument, "companions", "list of fields");
  if (type == LUA_TTABLE) {
    size_t count = (size_t)lua_rawlen(L, -1);
    ldx_companion *companions = LDX_ARENA_NEW(arena, ldx_companion, count + 1);
    for (size_t i = 0; i < count; i++) {
      ldx_lua_fields *fields = LDX_ARENA_NEW(arena, ldx_lua_fields, 1);
      lua_rawgeti(L, -1, (lua_Integer)i + 1);
      ldx_lua_check_fields_at(L, -1, argument, arena, fields);
      if (!fields->name) complain(L, argument, "companions", "list of fields with names");
      companions[i] = (ldx_companion){.name = fields->name, .definition = &fields->definition};
      lua_pop(L, 1);
    }
    step->companions = companions;
    step->companion_count = count;
  }
  lua_pop(L, 1);
}

void ldx_lua_check_step(lua_State *L, int argument, ldx_arena *arena, ldx_step *step, ldx_retry_policy *retry) {
  luaL_checktype(L, argument, LUA_TTABLE);
  memset(step, 0, sizeof *step);
  step->kind = (ldx_step_kind)choice(L, argument, argument, "kind", kinds, sizeof kinds / sizeof kinds[0], -1);
  step->relation.schema = text(L, argument, argument, "schema", arena);
  step->relation.name = text(L, argument, argument, "relation", arena);
  step->name = text(L, argument, argument, "name", arena);
  step->other = text(L, argument, argument, "other", arena);
  step->spare = text(L, argument, argument, "spare", arena);
  step->other_relation.schema = text(L, argument, argument, "other_schema", arena);
  step->other_relation.name = text(L, argument, argument, "other_relation", arena);
  step->mode = (ldx_mode)choice(L, argument, argument, "mode", modes, sizeof modes / sizeof modes[0], LDX_MODE_AUTO);
  step->id = (uint32_t)number(L, argument, argument, "id", 0);
  step->only_invalid = flag(L, argument, argument, "only_invalid");
  step->only = flag(L, argument, argument, "only");
  step->use_existing = flag(L, argument, argument, "use_existing");
  step->replace = flag(L, argument, argument, "replace");
  step->existing = flag(L, argument, argument, "existing");
  step->check_duplicates = flag(L, argument, argument, "check_duplicates");
  step->list_duplicates = flag(L, argument, argument, "list_duplicates");
  step->partitioned = flag(L, argument, argument, "partitioned");
  step->nullable = strings(L, argument, argument, "nullable", arena);
  step->lock_timeout = number(L, argument, argument, "lock_timeout", 0);
  step->drain_timeout = number(L, argument, argument, "drain_timeout", 0);
  step->dismissal = (ldx_dismissal){
      .cancel = strings(L, argument, argument, "cancel_blockers", arena),
      .terminate = strings(L, argument, argument, "terminate_blockers", arena),
      .patience = number(L, argument, argument, "blockers_after", 0),
  };
  step->maintenance_work_mem = text(L, argument, argument, "maintenance_work_mem", arena);
  double parallel = number(L, argument, argument, "parallel_workers", -1);
  step->parallel_workers = parallel < 0 ? -1 : parallel > 1024 ? 1024 : (int)parallel;
  step->commit_quorum = text(L, argument, argument, "commit_quorum", arena);
  read_companions(L, argument, argument, arena, step);

  const ldx_lua_fields *fields = definition(L, argument, argument, "fields", arena);
  if (fields) {
    step->definition = &fields->definition;
    if (!step->name) step->name = fields->name;
    if (!step->relation.name) step->relation = fields->definition.relation;
  }
  const ldx_lua_fields *old = definition(L, argument, argument, "old_fields", arena);
  if (old) step->old = &old->definition;
  if (retry) read_retry(L, argument, argument, retry);

  luaL_argcheck(L, step->relation.name, argument, "field 'relation' is missing");
  luaL_argcheck(L, step->name, argument, "field 'name' is missing");
  bool needs_fields = step->kind == LDX_STEP_BUILD || step->kind == LDX_STEP_ALTER;
  luaL_argcheck(L, !needs_fields || step->definition, argument, "field 'fields' is missing");
  bool needs_other = step->kind == LDX_STEP_ATTACH || step->kind == LDX_STEP_RENAME || step->kind == LDX_STEP_SWAP;
  luaL_argcheck(L, !needs_other || step->other, argument, "field 'other' is missing");
  luaL_argcheck(L, step->kind != LDX_STEP_SWAP || step->spare, argument, "field 'spare' is missing");
}

int ldx_lua_describe(lua_State *L) {
  ldx_error error;
  const ldx_driver *driver = ldx_lua_driver_for(luaL_optstring(L, 2, ""), &error);
  if (!driver) luaL_argerror(L, 2, error.message);
  lua_settop(L, 1);
  ldx_arena *arena = ldx_lua_push_arena(L);
  ldx_step step;
  ldx_lua_check_step(L, 1, arena, &step, NULL);
  lua_pushstring(L, driver->describe(arena, &step));
  ldx_lua_free_arena(L, 2);
  return 1;
}
