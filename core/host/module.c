/* module.c: build/lunadex.so, so that `require "lunadex"` works in a stock Lua 5.4. */
#include <lauxlib.h>
#include <lua.h>

#include "host/preload.h"

__attribute__((visibility("default"))) int luaopen_lunadex(lua_State *L);

/* From here on `require "lunadex.<module>"` finds the embedded ones; the module's value is that of its init.lua. */
int luaopen_lunadex(lua_State *L) {
  ldx_preload(L);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_getfield(L, -1, "lunadex");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  return 1;
}
