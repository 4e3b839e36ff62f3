#include "lua/diff.h"

#include <string.h>

#include "lua/catalog.h"
#include "lua/declarations.h"
#include "lua/push.h"
#include "lua/userdata.h"

static const char class[] = "lunadex.Diff";

/* User values: the set's userdata, the catalog's, the arena's; the diff points into all three. */
enum { SET = 1, CATALOG, ARENA, USER_VALUES = ARENA };

int ldx_lua_diff(lua_State *L) {
  ldx_lua_check_set(L, 1);
  ldx_lua_check_catalog(L, 2);
  lua_settop(L, 2);
  ldx_arena *arena = ldx_lua_push_arena(L);
  ldx_diff **handle = ldx_lua_new(L, class, sizeof(ldx_diff *), USER_VALUES);
  for (int i = SET; i <= ARENA; i++) {
    lua_pushvalue(L, i);
    lua_setiuservalue(L, -2, i);
  }
  ldx_lua_set *set = ldx_lua_check_set(L, 1);
  ldx_catalog *catalog = ldx_lua_check_catalog(L, 2);
  luaL_argcheck(L, set->catalog == catalog, 1, "these declarations were not resolved against this catalog");
  set->diffed = true;
  *handle = ldx_diff_make(arena, set->set, catalog);
  return 1;
}

static const ldx_diff *check(lua_State *L, int argument) {
  ldx_diff **handle = luaL_checkudata(L, argument, class);
  return *handle;
}

bool ldx_lua_test_diff(lua_State *L, int argument) {
  if (!luaL_testudata(L, argument, class)) return false;
  lua_getiuservalue(L, argument, SET);
  lua_getiuservalue(L, argument, CATALOG);
  return true;
}

const ldx_change *ldx_lua_test_change(lua_State *L, int argument, lua_Integer ordinal) {
  ldx_diff **handle = luaL_testudata(L, argument, class);
  if (!handle) return NULL;
  const ldx_diff *diff = *handle;
  luaL_argcheck(L, ordinal >= 1 && (size_t)ordinal <= diff->count && diff->items[ordinal - 1].declared, 1,
                "no such declaration");
  return &diff->items[ordinal - 1];
}

int ldx_lua_overlaps(lua_State *L) {
  ldx_lua_set *set = ldx_lua_check_set(L, 1);
  const ldx_diff *diff = lua_isnoneornil(L, 2) ? NULL : check(L, 2);
  const ldx_catalog *catalog = diff ? set->catalog : NULL;
  lua_settop(L, 2);
  if (diff) {
    lua_getiuservalue(L, 2, SET);
    luaL_argcheck(L, lua_rawequal(L, 1, -1), 2, "the diff is one of other declarations");
    lua_getiuservalue(L, 2, CATALOG);
  }
  lua_settop(L, 4);
  ldx_arena *arena = ldx_lua_push_arena(L);
  const ldx_overlaps *overlaps = ldx_overlaps_find(arena, set->set, diff, catalog);
  lua_newtable(L);
  for (size_t i = 0; i < overlaps->count; i++) {
    const ldx_overlap *overlap = &overlaps->items[i];
    if (lua_rawgeti(L, 6, (lua_Integer)overlap->ordinal + 1) == LUA_TNIL) {
      lua_pop(L, 1);
      lua_createtable(L, 1, 0);
      lua_pushvalue(L, -1);
      lua_rawseti(L, 6, (lua_Integer)overlap->ordinal + 1);
    }
    if (overlap->live)
      ldx_lua_push_live(L, 4, overlap->live);
    else
      lua_pushinteger(L, (lua_Integer)overlap->other + 1);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
  }
  ldx_lua_free_arena(L, 5);
  return 1;
}

static int total(lua_State *L) {
  const ldx_diff *diff = check(L, 1);
  const char *action = luaL_checkstring(L, 2);
  for (int i = 0; i <= LDX_ACTION_ERROR; i++) {
    if (strcmp(action, ldx_action_name((ldx_action)i)) != 0) continue;
    lua_pushinteger(L, (lua_Integer)diff->by_action[i]);
    return 1;
  }
  return luaL_argerror(L, 2, "no such action");
}

static void set_flag(lua_State *L, const char *field, bool value) {
  lua_pushboolean(L, value);
  lua_setfield(L, -2, field);
}

static void push_change(lua_State *L, int catalog, const ldx_change *change) {
  lua_createtable(L, 0, 10);
  lua_pushstring(L, ldx_action_name(change->action));
  lua_setfield(L, -2, "action");
  if (change->declared) {
    lua_pushinteger(L, (lua_Integer)change->ordinal + 1);
    lua_setfield(L, -2, "ordinal");
  }
  ldx_relation *relation = change->declared ? change->declared->relation : NULL;
  if (!relation && change->live) relation = change->live->relation;
  ldx_lua_push_relation(L, catalog, relation);
  lua_setfield(L, -2, "relation");
  ldx_lua_push_live(L, catalog, change->live);
  lua_setfield(L, -2, "live");
  lua_pushstring(L, change->reason ? change->reason : "");
  lua_setfield(L, -2, "reason");
  set_flag(L, "name_differs", change->name_differs);
  set_flag(L, "satisfied_by_key", change->satisfied_by_key);
  set_flag(L, "duplicate", change->duplicate);
  set_flag(L, "use_existing", change->use_existing);
  if (change->declared && change->declared->error) {
    ldx_lua_push_error(L, change->declared->error);
    lua_setfield(L, -2, "error");
  }
}

static bool is_quiet(const ldx_change *change) {
  return change->action == LDX_ACTION_KEEP && !change->name_differs && !change->satisfied_by_key &&
         !change->duplicate && !(change->reason && change->reason[0]);
}

/* Upvalues: diff, its catalog, position, quiet keeps. */
static int next_change(lua_State *L) {
  const ldx_diff *diff = check(L, lua_upvalueindex(1));
  bool quiet = lua_toboolean(L, lua_upvalueindex(4));
  size_t i = (size_t)lua_tointeger(L, lua_upvalueindex(3));
  while (quiet && i < diff->count && is_quiet(&diff->items[i])) i++;
  lua_pushinteger(L, (lua_Integer)i + 1);
  lua_replace(L, lua_upvalueindex(3));
  if (i >= diff->count) return 0;
  push_change(L, lua_upvalueindex(2), &diff->items[i]);
  return 1;
}

static int changes(lua_State *L) {
  check(L, 1);
  bool quiet = lua_toboolean(L, 2);
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, CATALOG);
  lua_pushinteger(L, 0);
  lua_pushboolean(L, quiet);
  lua_pushcclosure(L, next_change, 4);
  return 1;
}

/* Upvalues: diff, its catalog, position. */
static int next_run(lua_State *L) {
  const ldx_diff *diff = check(L, lua_upvalueindex(1));
  size_t first = (size_t)lua_tointeger(L, lua_upvalueindex(3)), end = first + 1;
  if (first >= diff->declared) return 0;
  ldx_relation *relation = diff->items[first].declared->relation;
  /* What is on no relation that is there may be on any. */
  while (relation && end < diff->declared && diff->items[end].declared->relation == relation) end++;
  lua_pushinteger(L, (lua_Integer)end);
  lua_replace(L, lua_upvalueindex(3));
  lua_pushinteger(L, (lua_Integer)first + 1);
  lua_pushinteger(L, (lua_Integer)end);
  ldx_lua_push_relation(L, lua_upvalueindex(2), relation);
  return 3;
}

static int runs(lua_State *L) {
  check(L, 1);
  lua_settop(L, 1);
  lua_getiuservalue(L, 1, CATALOG);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_run, 3);
  return 1;
}

static int undeclared(lua_State *L) {
  const ldx_diff *diff = check(L, 1);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, CATALOG);
  ldx_catalog *catalog;
  const ldx_relation *relation = ldx_lua_test_relation(L, 2, &catalog);
  luaL_argcheck(L, relation && catalog == ldx_lua_check_catalog(L, 3), 2, "a relation of this diff's catalog expected");
  lua_newtable(L);
  lua_Integer count = 0;
  for (size_t i = 0; i < relation->live_count; i++) {
    if (diff->taken[relation->live[i]->ordinal]) continue;
    ldx_lua_push_live(L, 3, relation->live[i]);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int diff_index(lua_State *L) {
  const ldx_diff *diff = check(L, 1);
  lua_settop(L, 2);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "count") == 0)
    lua_pushinteger(L, (lua_Integer)diff->count);
  else if (strcmp(key, "declared") == 0)
    lua_pushinteger(L, (lua_Integer)diff->declared);
  else if (strcmp(key, "live") == 0)
    lua_pushinteger(L, (lua_Integer)diff->live);
  else
    lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

static int diff_tostring(lua_State *L) {
  lua_pushfstring(L, "%s: %I changes", class, (LUAI_UACINT)check(L, 1)->count);
  return 1;
}

void ldx_lua_open_diff(lua_State *L) {
  static const luaL_Reg meta[] = {{"__tostring", diff_tostring}, {NULL, NULL}};
  static const luaL_Reg methods[] = {
      {"total", total}, {"changes", changes}, {"runs", runs}, {"undeclared", undeclared}, {NULL, NULL}};
  ldx_lua_class(L, class, meta, methods, diff_index);
}
