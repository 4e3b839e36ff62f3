/* counted.h: functions of Lua's libraries that may run for hours inside C, where no instruction is counted and nobody is
 * interrupted: the same, but what they do is taken off what a limited run may do (sandbox.h), and so ends with it. */
#ifndef LUNADEX_LUA_COUNTED_H
#define LUNADEX_LUA_COUNTED_H

#include <lauxlib.h>

/* Sets fields of the table at the top to those of `string` that take patterns: find, match, gmatch, gsub (match.c).
 * [-0, +0, m] */
void ldx_lua_set_matching(lua_State *L);

/* Sets the field `counted` of the table at the top: tables `string` and `table` with what stands in the place of the
 * libraries' own. [-0, +0, m] */
void ldx_lua_open_counted(lua_State *L);

#endif
