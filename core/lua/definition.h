/* definition.h: lunadex.Fields (lua/meta/core.lua) → ldx_definition. The way back is ldx_lua_push_fields. */
#ifndef LUNADEX_LUA_DEFINITION_H
#define LUNADEX_LUA_DEFINITION_H

#include <lua.h>

#include "lunadex/index.h"

typedef struct ldx_lua_fields {
  ldx_definition definition;
  const char *name;         /* NULL: none */
  const char *duplicate_of; /* likewise */
} ldx_lua_fields;

/* Reads the table at argument `argument` without calling metamethods; strings are copied into `arena`. Raises on a
 * malformed table and on fields it does not know, blaming that argument. [-0, +0, v] */
void ldx_lua_check_fields(lua_State *L, int argument, ldx_arena *arena, ldx_lua_fields *out);
/* The same of a table anywhere on the stack, which is part of that argument. */
void ldx_lua_check_fields_at(lua_State *L, int index, int argument, ldx_arena *arena, ldx_lua_fields *out);
/* A key as in lunadex.Fields, from a table anywhere on the stack. */
void ldx_lua_check_key_at(lua_State *L, int index, ldx_arena *arena, ldx_key *out);

/* The definition in the braces of a registry's `index { … }` at `raw`, where it is plain enough to be taken as it is;
 * without its relation. `known` is a table of what was found right before: keys (as written → lunadex.Key) and
 * expressions (as written → as kept). [-0, +0, m] */
bool ldx_lua_take_plain(lua_State *L, int raw, ldx_kind kind, int known, ldx_arena *arena, ldx_lua_fields *out);

/* Functions of `lunadex.core`, as lua/meta/core.lua describes them. */
int ldx_lua_fingerprint(lua_State *L);
int ldx_lua_check(lua_State *L);
int ldx_lua_short_option(lua_State *L);

#endif
