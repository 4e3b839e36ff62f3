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

#endif
