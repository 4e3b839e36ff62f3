/* nearest.c: the nearest right spelling of a word, for "did you mean". */
#include "base/distance.h"
#include "lua/userdata.h"

int ldx_lua_nearest(lua_State *L) {
  const char *word = luaL_checkstring(L, 1), *best = NULL;
  luaL_checktype(L, 2, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
    /* The table holds the candidate, which outlives its place on the stack. A number would be changed by lua_tostring. */
    int candidate = lua_isinteger(L, -2) ? -1 : -2;
    if (lua_type(L, candidate) == LUA_TSTRING) best = ldx_distance_best(word, best, lua_tostring(L, candidate));
  }
  lua_pushstring(L, best); /* NULL is nil */
  return 1;
}
