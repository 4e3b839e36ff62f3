#include "lua/userdata.h"

#include <string.h>

#include "lua/push.h"

void ldx_lua_class(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods, lua_CFunction index) {
  if (!luaL_newmetatable(L, name)) {
    lua_pop(L, 1);
    return;
  }
  luaL_setfuncs(L, meta, 0);
  lua_newtable(L);
  if (methods) luaL_setfuncs(L, methods, 0);
  if (index) lua_pushcclosure(L, index, 1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0); /* getmetatable(view).__gc is nobody's business */
  lua_setfield(L, -2, "__metatable");
  lua_pop(L, 1);
}

void *ldx_lua_new(lua_State *L, const char *name, size_t size, int user_values) {
  void *memory = lua_newuserdatauv(L, size, user_values);
  memset(memory, 0, size);
  luaL_setmetatable(L, name);
  return memory;
}

const char *ldx_lua_check_text(lua_State *L, int argument) {
  size_t length;
  luaL_checktype(L, argument, LUA_TSTRING); /* no numbers: lua_tolstring would change the caller's value */
  const char *text = lua_tolstring(L, argument, &length);
  if (strlen(text) != length) luaL_argerror(L, argument, "string without zero bytes expected");
  return text;
}

const char *ldx_lua_opt_text(lua_State *L, int argument) {
  return lua_isnoneornil(L, argument) ? NULL : ldx_lua_check_text(L, argument);
}

static const char arena_class[] = "lunadex.Arena";

void ldx_lua_free_arena(lua_State *L, int index) {
  ldx_arena **arena = lua_touserdata(L, index);
  ldx_arena_free(*arena);
  *arena = NULL;
}

static int arena_close(lua_State *L) {
  ldx_lua_free_arena(L, 1);
  return 0;
}

ldx_arena *ldx_lua_push_arena(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", arena_close}, {"__close", arena_close}, {NULL, NULL}};
  ldx_lua_class(L, arena_class, meta, NULL, NULL);
  ldx_arena **arena = ldx_lua_new(L, arena_class, sizeof *arena, 0);
  *arena = ldx_arena_new();
  return *arena;
}

int ldx_lua_fail(lua_State *L, const ldx_error *error) {
  lua_pushnil(L);
  ldx_lua_push_error(L, error);
  return 2;
}
