/* name.c: the dialect of PostgreSQL, for names and for SQL that is shown. */
#include <string.h>

#include "drivers/postgres/render.h"
#include "lua/userdata.h"

int ldx_lua_quote_name(lua_State *L) {
  ldx_name name = {ldx_lua_opt_text(L, 1), ldx_lua_check_text(L, 2)};
  ldx_arena *arena = ldx_lua_push_arena(L);
  lua_pushstring(L, ldx_pg_display_name(arena, name));
  ldx_lua_free_arena(L, -2);
  return 1;
}

int ldx_lua_split_name(lua_State *L) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  ldx_arena *arena = ldx_lua_push_arena(L);
  ldx_name name;
  if (strlen(text) == length && ldx_pg_split_name(arena, text, &name)) {
    lua_pushstring(L, name.schema); /* NULL is nil */
    lua_pushstring(L, name.name);
  } else {
    lua_pushnil(L);
    lua_pushnil(L);
  }
  ldx_lua_free_arena(L, -3);
  return 2;
}
