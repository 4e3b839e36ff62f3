#include "lua/parse.h"

#include <string.h>

#include "base/buffer.h"
#include "drivers/postgres/parse.h"
#include "lua/push.h"
#include "lua/userdata.h"

/* C ends a text at a zero byte, PostgreSQL has none: what follows must not go unseen. */
static const char *check_text(lua_State *L, ldx_error *error) {
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  if (strlen(text) == length) return text;
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "a zero byte in the text");
  return NULL;
}

int ldx_lua_parse_sql(lua_State *L) {
  ldx_error error;
  const char *sql = check_text(L, &error);
  if (!sql) return ldx_lua_fail(L, &error);
  lua_settop(L, 1);
  ldx_arena *arena = ldx_lua_push_arena(L);
  ldx_definition definition;
  const char *name;
  bool parsed = ldx_pg_parse(arena, sql, &definition, &name, &error);
  if (parsed) ldx_lua_push_fields(L, &definition, name);
  ldx_lua_free_arena(L, 2);
  return parsed ? 1 : ldx_lua_fail(L, &error);
}

int ldx_lua_check_expression(lua_State *L) {
  ldx_error error;
  const char *text = check_text(L, &error);
  if (!text) return ldx_lua_fail(L, &error);
  lua_settop(L, 1);
  const char *expression = ldx_pg_check_expression(ldx_lua_push_arena(L), text, &error);
  if (expression) lua_pushstring(L, expression);
  ldx_lua_free_arena(L, 2);
  return expression ? 1 : ldx_lua_fail(L, &error);
}

/* [-0, +1, m] */
static void push_list(lua_State *L, const ldx_strings *list) {
  lua_createtable(L, (int)list->count, 0);
  for (size_t i = 0; i < list->count; i++) {
    lua_pushstring(L, list->items[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

int ldx_lua_excluded_nulls(lua_State *L) {
  ldx_error error;
  const char *text = check_text(L, &error);
  if (!text) return ldx_lua_fail(L, &error);
  bool check = lua_toboolean(L, 2);
  lua_settop(L, 1);
  ldx_strings columns;
  bool nothing_else;
  bool ok = ldx_pg_excluded_nulls(ldx_lua_push_arena(L), text, check, &columns, &nothing_else, &error);
  if (ok) {
    push_list(L, &columns);
    lua_pushboolean(L, nothing_else);
  }
  ldx_lua_free_arena(L, 2);
  return ok ? 2 : ldx_lua_fail(L, &error);
}

typedef bool (*reader)(ldx_arena *arena, const char *text, ldx_strings *found, ldx_error *error);

/* What `read` finds in the text, as a list. [-0, +1 or 2, v] */
static int list_of(lua_State *L, reader read) {
  ldx_error error;
  const char *text = check_text(L, &error);
  if (!text) return ldx_lua_fail(L, &error);
  lua_settop(L, 1);
  ldx_strings found;
  bool ok = read(ldx_lua_push_arena(L), text, &found, &error);
  if (ok) push_list(L, &found);
  ldx_lua_free_arena(L, 2);
  return ok ? 1 : ldx_lua_fail(L, &error);
}

int ldx_lua_parameters(lua_State *L) {
  return list_of(L, ldx_pg_parameters);
}

int ldx_lua_assigned_columns(lua_State *L) {
  return list_of(L, ldx_pg_assigned);
}

int ldx_lua_number_text(lua_State *L) {
  double number = luaL_checknumber(L, 1);
  lua_settop(L, 1);
  ldx_buffer text;
  ldx_buffer_init(&text, ldx_lua_push_arena(L));
  ldx_buffer_append_number(&text, number);
  lua_pushstring(L, ldx_buffer_string(&text));
  ldx_lua_free_arena(L, 2);
  return 1;
}
