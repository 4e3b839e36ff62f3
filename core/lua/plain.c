/* plain.c: declarations that need no second look go from the registry's words straight into the set.
 *
 * Nearly all of a large registry is `index { "a", desc "b", name = "…" }`: texts of printable ASCII, keys and expressions
 * that were found right before, options of which nothing can be wrong together. What is anything else, right or wrong,
 * is left to lua/lunadex/registry/check.lua, which knows how to say what is wrong. So this must never take what that
 * would refuse; the other way round costs time only.
 */
#include <lauxlib.h>
#include <string.h>

#include "lua/declarations.h"
#include "lua/definition.h"

enum { MAX_NAME = 63, MAX_KEYS = 32 };

typedef struct plain {
  lua_State *L;
  ldx_arena *arena;
  int raw, known_keys, known_expressions; /* stack indices */
  bool documents;                         /* keys are paths of fields, and there are no methods */
  ldx_lua_fields *out;
} plain;

/* The value on top as a name that nothing is wrong with, or NULL. */
static const char *plain_name(const plain *p) {
  if (lua_type(p->L, -1) != LUA_TSTRING) return NULL;
  size_t length;
  const char *text = lua_tolstring(p->L, -1, &length);
  if (length == 0 || length > MAX_NAME) return NULL;
  for (size_t i = 0; i < length; i++)
    if (text[i] < ' ' || text[i] > '~') return NULL;
  return ldx_arena_strndup(p->arena, text, length);
}

/* Whether nothing is wrong with a path, whatever the server's version: parts without $, and not the key of every
 * collection alone. */
static bool is_plain_path(const char *path, size_t key_count) {
  if (*path == '.' || strstr(path, "..") || path[strlen(path) - 1] == '.' || strchr(path, '$')) return false;
  return key_count > 1 || strcmp(path, "_id") != 0;
}

/* [-0, +0, m] */
static bool take_key(const plain *p, size_t i) {
  lua_State *L = p->L;
  ldx_key *key = &p->out->definition.keys[i];
  bool taken = false;
  lua_rawgeti(L, p->raw, (lua_Integer)i + 1);
  if (lua_type(L, -1) == LUA_TSTRING) {
    key->column = plain_name(p);
    taken = key->column;
  } else if (lua_type(L, -1) == LUA_TTABLE && p->out->definition.kind == LDX_KIND_INDEX) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, p->known_keys) == LUA_TTABLE) {
      ldx_lua_check_key_at(L, -1, p->arena, key);
      taken = !key->operator;
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  if (taken && p->documents) return !key->opclass && is_plain_path(key->column, p->out->definition.key_count);
  return taken;
}

static bool take_columns(const plain *p, ldx_strings *list) {
  lua_State *L = p->L;
  if (lua_type(L, -1) != LUA_TTABLE) return false;
  size_t found = 0;
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) found++;
  list->count = (size_t)lua_rawlen(L, -1);
  if (list->count == 0 || list->count != found) return false;
  list->items = LDX_ARENA_NEW(p->arena, const char *, list->count);
  for (size_t i = 0; i < list->count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    list->items[i] = plain_name(p);
    lua_pop(L, 1);
    if (!list->items[i]) return false;
  }
  return true;
}

/* The option whose name is at -2 and whose value at -1. */
static bool take_option(const plain *p) {
  lua_State *L = p->L;
  ldx_definition *definition = &p->out->definition;
  const char *option = lua_tostring(L, -2);
  if (strcmp(option, "name") == 0) {
    p->out->name = plain_name(p);
    return p->out->name && !(p->documents && (strcmp(p->out->name, "*") == 0 || strcmp(p->out->name, "_id_") == 0));
  }
  if (strcmp(option, "include") == 0) return !p->documents && take_columns(p, &definition->include);
  if (definition->kind != LDX_KIND_INDEX) return false;
  if (strcmp(option, "method") == 0) return !p->documents && (definition->method = plain_name(p));
  if (strcmp(option, "unique") == 0) {
    definition->unique = lua_toboolean(L, -1);
    return lua_isboolean(L, -1);
  }
  if (strcmp(option, "where") == 0 && !p->documents && lua_type(L, -1) == LUA_TSTRING) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, p->known_expressions) == LUA_TSTRING)
      definition->predicate = ldx_arena_strdup(p->arena, lua_tostring(L, -1));
    lua_pop(L, 1);
    return definition->predicate;
  }
  return false;
}

/* Whether the parts can have nothing against each other, whatever the method. */
static bool agree(const ldx_definition *definition) {
  if (strcmp(definition->method, "btree") == 0) return true;
  return definition->key_count == 1 && !definition->keys[0].descending && !definition->keys[0].nulls_first &&
         !definition->unique && definition->include.count == 0;
}

static bool no_field_twice(const ldx_definition *definition) {
  for (size_t i = 1; i < definition->key_count; i++)
    for (size_t j = 0; j < i; j++)
      if (strcmp(definition->keys[i].column, definition->keys[j].column) == 0) return false;
  return true;
}

static bool take(const plain *p) {
  lua_State *L = p->L;
  ldx_definition *definition = &p->out->definition;
  definition->key_count = (size_t)lua_rawlen(L, p->raw);
  if (definition->key_count == 0 || definition->key_count > MAX_KEYS) return false;
  size_t positions = 0;
  for (lua_pushnil(L); lua_next(L, p->raw); lua_pop(L, 1)) {
    if (lua_isinteger(L, -2))
      positions++;
    else if (lua_type(L, -2) != LUA_TSTRING || !take_option(p))
      return false;
  }
  if (positions != definition->key_count) return false;
  definition->keys = LDX_ARENA_NEW(p->arena, ldx_key, definition->key_count);
  for (size_t i = 0; i < definition->key_count; i++)
    if (!take_key(p, i)) return false;
  if (p->documents) {
    definition->method = "";
    return no_field_twice(definition);
  }
  if (!definition->method) definition->method = "btree";
  return agree(definition);
}

bool ldx_lua_take_plain(lua_State *L, int raw, ldx_kind kind, int known, ldx_arena *arena, ldx_lua_fields *out) {
  memset(out, 0, sizeof *out);
  if (kind != LDX_KIND_INDEX && kind != LDX_KIND_UNIQUE && kind != LDX_KIND_PRIMARY_KEY) return false;
  out->definition.kind = kind;
  out->definition.unique = kind != LDX_KIND_INDEX;
  luaL_checkstack(L, 12, NULL);
  int top = lua_gettop(L);
  lua_getfield(L, known, "keys");
  lua_getfield(L, known, "expressions");
  lua_getfield(L, known, "documents");
  plain p = {.L = L,
             .arena = arena,
             .raw = lua_absindex(L, raw),
             .known_keys = top + 1,
             .known_expressions = top + 2,
             .documents = lua_toboolean(L, top + 3),
             .out = out};
  bool taken = (kind == LDX_KIND_INDEX || !p.documents) && take(&p);
  lua_settop(L, top);
  return taken;
}
