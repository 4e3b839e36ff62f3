/* parse.h: the parser of PostgreSQL for Lua. All belong into the table of `lunadex.core`. */
#ifndef LUNADEX_LUA_PARSE_H
#define LUNADEX_LUA_PARSE_H

#include <lua.h>

/* parse_sql(sql) → fields (lunadex.Fields) | nil, error. [-0, +1 or 2, v] */
int ldx_lua_parse_sql(lua_State *L);

/* check_expression(text) → text | nil, error: the text without comments and parentheses around it, if it is one SQL
 * expression and nothing else. [-0, +1 or 2, v] */
int ldx_lua_check_expression(lua_State *L);

/* parameters(text) → list of texts ("$1") | nil, error: the parameters in a text that is one whole. [-0, +1 or 2, v] */
int ldx_lua_parameters(lua_State *L);

/* assigned_columns(text) → list of names | nil, error: what stands behind SET in an UPDATE. [-0, +1 or 2, v] */
int ldx_lua_assigned_columns(lua_State *L);

/* excluded_nulls(predicate, check) → list of columns, nothing else | nil, error: of which it is true, or of a check not
 * false, for no null. [-0, +2, v] */
int ldx_lua_excluded_nulls(lua_State *L);

/* number_text(number) → text: as a parameter of PostgreSQL is sent. [-0, +1, v] */
int ldx_lua_number_text(lua_State *L);

#endif
