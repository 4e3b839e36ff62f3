#include "lua/parse.h"

#include <lauxlib.h>
#include <string.h>

#include "drivers/postgres/parse.h"
#include "lua/push.h"

/* The arena of a parse, freed also when Lua runs out of memory while the result is pushed. */
static int free_arena(lua_State *L) {
  ldx_arena **arena = lua_touserdata(L, 1);
  if (*arena) ldx_arena_free(*arena);
  *arena = NULL;
  return 0;
}

/* [-0, +1, m] */
static ldx_arena *push_arena(lua_State *L) {
  ldx_arena **arena = lua_newuserdatauv(L, sizeof(ldx_arena *), 0);
  *arena = NULL;
  if (luaL_newmetatable(L, "lunadex.parse.arena")) {
    lua_pushcfunction(L, free_arena);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, free_arena);
    lua_setfield(L, -2, "__close");
  }
  lua_setmetatable(L, -2);
  *arena = ldx_arena_new();
  return *arena;
}

/* C ends a text at a zero byte, PostgreSQL has none: what follows must not go unseen. */
static const char *check_text(lua_State *L, ldx_error *error) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  if (strlen(text) == length) return text;
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "a zero byte in the text");
  return NULL;
}

static int push_failure(lua_State *L, const ldx_error *error) {
  lua_pushnil(L);
  ldx_lua_push_error(L, error);
  return 2;
}

int ldx_lua_parse_sql(lua_State *L) {
  ldx_error error;
  const char *sql = check_text(L, &error);
  if (!sql) return push_failure(L, &error);
  lua_settop(L, 1);
  ldx_arena *arena = push_arena(L);
  lua_toclose(L, -1);
  ldx_definition definition;
  const char *name;
  if (!ldx_pg_parse(arena, sql, &definition, &name, &error)) return push_failure(L, &error);
  ldx_lua_push_fields(L, &definition, name);
  return 1;
}

int ldx_lua_check_expression(lua_State *L) {
  ldx_error error;
  const char *text = check_text(L, &error);
  if (!text) return push_failure(L, &error);
  lua_settop(L, 1);
  ldx_arena *arena = push_arena(L);
  lua_toclose(L, -1);
  const char *expression = ldx_pg_check_expression(arena, text, &error);
  if (!expression) return push_failure(L, &error);
  lua_pushstring(L, expression);
  return 1;
}
