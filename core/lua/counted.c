#include "lua/counted.h"

#include "lua/sandbox.h"

/* What the library's own does, which is the upvalue, as if it had been called itself: errors have its name and the
 * caller's line. */
static int go_on(lua_State *L) {
  return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* Would count to n for nothing where there is nothing to repeat. */
static int rep(lua_State *L) {
  size_t length, separator;
  luaL_checklstring(L, 1, &length);
  luaL_checkinteger(L, 2);
  luaL_optlstring(L, 3, "", &separator);
  if (length + separator > 0) return go_on(L);
  lua_pushliteral(L, "");
  return 1;
}

static int move(lua_State *L) {
  lua_Integer from = luaL_checkinteger(L, 2), to = luaL_checkinteger(L, 3);
  /* Where there are more than a number can say, the library refuses. */
  if (to > from && (from > 0 || to < LUA_MAXINTEGER + from)) ldx_lua_charge(L, to - from);
  return go_on(L);
}

/* Every element behind the place moves. */
static int insert(lua_State *L) {
  if (lua_gettop(L) == 3) ldx_lua_charge(L, (lua_Integer)lua_rawlen(L, 1));
  return go_on(L);
}

static int remove_element(lua_State *L) {
  if (lua_gettop(L) > 1) ldx_lua_charge(L, (lua_Integer)lua_rawlen(L, 1));
  return go_on(L);
}

static int concat(lua_State *L) {
  ldx_lua_charge(L, (lua_Integer)lua_rawlen(L, 1));
  return go_on(L);
}

/* Long texts that begin alike take long each time. */
static int is_before(lua_State *L) {
  enum { AT_ONCE = 64 };
  ldx_lua_charge(L, 1 + (lua_type(L, 1) == LUA_TSTRING ? (lua_Integer)lua_rawlen(L, 1) / AT_ONCE : 0));
  lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
  return 1;
}

static int sort(lua_State *L) {
  enum { COMPARISONS = 32 }; /* of each, or nearly so; those by a function in Lua are counted as they are made */
  if (lua_iscfunction(L, 2)) ldx_lua_charge(L, COMPARISONS * (lua_Integer)lua_rawlen(L, 1));
  if (lua_isnoneornil(L, 2)) {
    lua_settop(L, 1);
    lua_pushcfunction(L, is_before);
  }
  return go_on(L);
}

/* Sets fields of the table at the top to what is called before functions of a library of Lua's. One that somebody has
 * put a function of his own in the place of is left as it is. [-0, +0, m] */
static void put_before(lua_State *L, const char *library, const luaL_Reg *functions) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  luaL_getsubtable(L, -1, library);
  for (const luaL_Reg *function = functions; function->name; function++) {
    lua_getfield(L, -1, function->name);
    if (lua_iscfunction(L, -1)) lua_pushcclosure(L, function->func, 1);
    lua_setfield(L, -4, function->name);
  }
  lua_pop(L, 2);
}

void ldx_lua_open_counted(lua_State *L) {
  static const luaL_Reg of_string[] = {{"rep", rep}, {NULL, NULL}};
  static const luaL_Reg of_table[] = {{"concat", concat},         {"insert", insert}, {"move", move},
                                      {"remove", remove_element}, {"sort", sort},     {NULL, NULL}};
  lua_createtable(L, 0, 2);
  lua_createtable(L, 0, 5);
  ldx_lua_set_matching(L);
  put_before(L, "string", of_string);
  lua_setfield(L, -2, "string");
  lua_createtable(L, 0, 5);
  put_before(L, "table", of_table);
  lua_setfield(L, -2, "table");
  lua_setfield(L, -2, "counted");
}
