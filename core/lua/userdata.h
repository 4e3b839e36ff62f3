/* userdata.h: what the userdata of the binding share. Each is made closed, with its metatable, before it owns anything;
 * what is C's lives in it, so that an error of Lua's at any point leaks nothing.
 */
#ifndef LUNADEX_LUA_USERDATA_H
#define LUNADEX_LUA_USERDATA_H

#include <lauxlib.h>
#include <lua.h>

#include "lunadex/diff.h"
#include "lunadex/driver.h"

/* Makes the metatable `name` unless it exists: `meta` into itself, `methods` into a table of their own, which is
 * `__index`; with `index`, that function is `__index` and has the table of methods as its first upvalue.
 * Leaves the stack as it was. [-0, +0, m] */
void ldx_lua_class(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods, lua_CFunction index);

/* A new userdata of that class, zeroed, with `user_values`. [-0, +1, m] */
void *ldx_lua_new(lua_State *L, const char *name, size_t size, int user_values);

/* A string argument or value that C can take: NULL where it is nil or none. Raises when it is something else, or
 * has a zero byte. [-0, +0, v] */
const char *ldx_lua_opt_text(lua_State *L, int argument);
const char *ldx_lua_check_text(lua_State *L, int argument);

/* An arena that Lua frees at the latest; ldx_lua_free_arena frees it at once. [-0, +1, m] and [-0, +0, -] */
ldx_arena *ldx_lua_push_arena(lua_State *L);
void ldx_lua_free_arena(lua_State *L, int index);

/* nil, error. Returns 2. [-0, +2, m] */
int ldx_lua_fail(lua_State *L, const ldx_error *error);

/* Register what they make; called once by luaopen_lunadex_core. [-0, +0, m] */
void ldx_lua_open_declarations(lua_State *L);
void ldx_lua_open_catalog(lua_State *L);
void ldx_lua_open_diff(lua_State *L);
void ldx_lua_open_database(lua_State *L);

/* Functions of `lunadex.core`, as lua/meta/core.lua describes them. */
int ldx_lua_declarations(lua_State *L);
int ldx_lua_diff(lua_State *L);
int ldx_lua_open(lua_State *L);
int ldx_lua_views(lua_State *L);
int ldx_lua_index_views(lua_State *L);
int ldx_lua_wait(lua_State *L);
int ldx_lua_describe(lua_State *L);
int ldx_lua_nearest(lua_State *L);
int ldx_lua_quote_name(lua_State *L);
int ldx_lua_split_name(lua_State *L);
int ldx_lua_catch_signals(lua_State *L);
int ldx_lua_signal(lua_State *L);
int ldx_lua_forget_signal(lua_State *L);
int ldx_lua_call_while_computing(lua_State *L);
int ldx_lua_now(lua_State *L);
int ldx_lua_terminal(lua_State *L);
int ldx_lua_writable(lua_State *L);

#endif
