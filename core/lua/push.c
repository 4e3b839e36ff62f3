#include "lua/push.h"

#include <lauxlib.h>
#include <string.h>

/* --- errors --------------------------------------------------------------------------------------------------------- */

static int error_tostring(lua_State *L) {
  lua_settop(L, 1);
  lua_getfield(L, 1, "hint");
  lua_getfield(L, 1, "message");
  const char *message = luaL_tolstring(L, -1, NULL);
  if (lua_type(L, 2) == LUA_TSTRING) lua_pushfstring(L, "%s (%s)", message, lua_tostring(L, 2));
  return 1;
}

static int error_concat(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}

static const char *const retry_names[] = {
    [LDX_RETRY_NEVER] = NULL,
    [LDX_RETRY_AGAIN] = "again",
    [LDX_RETRY_RECONNECT] = "reconnect",
    [LDX_RETRY_VERIFY] = "verify",
};

static void set_text(lua_State *L, const char *field, const char *text) {
  if (!text || !*text) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

void ldx_lua_push_error(lua_State *L, const ldx_error *error) {
  lua_createtable(L, 0, 8);
  lua_pushstring(L, ldx_error_name(error->code));
  lua_setfield(L, -2, "code");
  lua_pushstring(L, error->message);
  lua_setfield(L, -2, "message");
  set_text(L, "detail", error->detail);
  set_text(L, "hint", error->hint);
  set_text(L, "native", error->native);
  set_text(L, "context", error->context);
  ldx_retry retry = ldx_error_retry(error->code);
  lua_pushboolean(L, retry != LDX_RETRY_NEVER);
  lua_setfield(L, -2, "retryable");
  set_text(L, "retry", retry_names[retry]);
  if (luaL_newmetatable(L, "lunadex.Error")) {
    lua_pushcfunction(L, error_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, error_concat);
    lua_setfield(L, -2, "__concat");
  }
  lua_setmetatable(L, -2);
}

/* --- definitions ---------------------------------------------------------------------------------------------------- */

static void set_flag(lua_State *L, const char *field, bool value) {
  if (!value) return;
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, field);
}

/* For the values that the grammar has a word for although they change nothing. */
static void set_unless(lua_State *L, const char *field, const char *value, const char *usual) {
  if (value && strcmp(value, usual) != 0) set_text(L, field, value);
}

static void set_strings(lua_State *L, const char *field, const ldx_strings *strings) {
  if (strings->count == 0) return;
  lua_createtable(L, (int)strings->count, 0);
  for (size_t i = 0; i < strings->count; i++) {
    lua_pushstring(L, strings->items[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, field);
}

void ldx_lua_push_options(lua_State *L, const ldx_options *options) {
  if (options->count == 0) {
    lua_pushnil(L);
    return;
  }
  lua_createtable(L, (int)options->count, 0);
  for (size_t i = 0; i < options->count; i++) {
    lua_createtable(L, 2, 0);
    lua_pushstring(L, options->items[i].name);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, options->items[i].value);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void set_options(lua_State *L, const char *field, const ldx_options *options) {
  if (options->count == 0) return;
  ldx_lua_push_options(L, options);
  lua_setfield(L, -2, field);
}

static void push_key(lua_State *L, const ldx_key *key) {
  lua_createtable(L, 0, 4);
  set_text(L, "column", key->column);
  set_text(L, "expression", key->expression);
  set_flag(L, "descending", key->descending);
  if (key->nulls_first != key->descending) set_text(L, "nulls", key->nulls_first ? "first" : "last");
  set_text(L, "opclass", key->opclass);
  set_options(L, "opclass_options", &key->opclass_options);
  set_text(L, "collation", key->collation);
  set_text(L, "operator", key->operator);
}

void ldx_lua_push_fields(lua_State *L, const ldx_definition *definition, const char *name) {
  luaL_checkstack(L, 8, NULL);
  lua_createtable(L, 0, 8);
  set_text(L, "kind", ldx_kind_name(definition->kind));
  set_text(L, "schema", definition->relation.schema);
  set_text(L, "relation", definition->relation.name);
  set_text(L, "name", name);
  if (definition->method && !*definition->method) {
    lua_pushliteral(L, ""); /* the database has none */
    lua_setfield(L, -2, "method");
  } else {
    set_unless(L, "method", definition->method, "btree");
  }
  lua_createtable(L, (int)definition->key_count, 0);
  for (size_t i = 0; i < definition->key_count; i++) {
    push_key(L, &definition->keys[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  lua_setfield(L, -2, "keys");
  set_strings(L, "include", &definition->include);
  set_text(L, "where", definition->predicate);
  if (definition->kind == LDX_KIND_INDEX) set_flag(L, "unique", definition->unique);
  set_flag(L, "nulls_not_distinct", definition->nulls_not_distinct);
  set_flag(L, "without_overlaps", definition->without_overlaps);
  set_options(L, "traits", &definition->traits);
  set_options(L, "with", &definition->storage);
  set_text(L, "tablespace", definition->tablespace);
  set_flag(L, "deferrable", definition->deferrable);
  set_flag(L, "initially_deferred", definition->initially_deferred);
  set_flag(L, "not_enforced", definition->not_enforced);
  if (definition->kind != LDX_KIND_FOREIGN_KEY) return;
  lua_createtable(L, 0, 3);
  set_text(L, "schema", definition->references.schema);
  set_text(L, "relation", definition->references.name);
  set_strings(L, "columns", &definition->references_columns);
  lua_setfield(L, -2, "references");
  set_unless(L, "on_update", definition->on_update, "no action");
  set_unless(L, "on_delete", definition->on_delete, "no action");
  set_strings(L, "on_delete_columns", &definition->on_delete_columns);
  set_unless(L, "match", definition->match, "simple");
}
