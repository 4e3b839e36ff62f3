/* value.h: values of statements (lunadex/value.h) as Lua sees them, described in lua/lunadex/bson.lua.
 *
 * Tables are read raw: nothing of the script's runs meanwhile.
 */
#ifndef LUNADEX_LUA_VALUE_H
#define LUNADEX_LUA_VALUE_H

#include <lua.h>

#include "lunadex/value.h"

/* The value at `index`, in the arena. Raises, blaming `argument`, what cannot be sent. [-0, +0, v] */
ldx_value ldx_lua_check_value(lua_State *L, int index, int argument, ldx_arena *arena);

/* A list of rows: tables by the names of the columns, in which null is nil; or documents. [-0, +1, m] */
void ldx_lua_push_rows(lua_State *L, const ldx_result *rows);

/* Makes the classes, and sets `null` in the table on top. [-0, +0, m] */
void ldx_lua_open_value(lua_State *L);

/* Functions of `lunadex.core`, as lua/meta/core.lua describes them. */
int ldx_lua_value(lua_State *L);
int ldx_lua_document(lua_State *L);
int ldx_lua_list(lua_State *L);

#endif
