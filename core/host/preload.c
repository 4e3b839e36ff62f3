#include "host/preload.h"

#include <lauxlib.h>
#include <lualib.h>

#include "host/embedded.h"

/* Written by core/lua/core.c. */
int luaopen_lunadex_core(lua_State *L);

/* The loader of one embedded module; upvalue 1 is its entry. Called by `require` with the module's name and
 * ":preload:", which it passes on, as a file loaded by `require` would get them. */
static int load_embedded(lua_State *L) {
  const ldx_embedded *entry = lua_touserdata(L, lua_upvalueindex(1));
  int arguments = lua_gettop(L);
  if (luaL_loadbufferx(L, entry->data, entry->size, entry->module, "b") != LUA_OK) return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, arguments, 1);
  return 1;
}

void ldx_preload(lua_State *L) {
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  for (const ldx_embedded *entry = ldx_embedded_lua; entry->module; entry++) {
    lua_pushlightuserdata(L, (void *)entry);
    lua_pushcclosure(L, load_embedded, 1);
    lua_setfield(L, -2, entry->module);
  }
  lua_pushcfunction(L, luaopen_lunadex_core);
  lua_setfield(L, -2, "lunadex.core");
  lua_pop(L, 1);
}
