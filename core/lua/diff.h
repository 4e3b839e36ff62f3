/* diff.h: lunadex.Diff for the other files of the binding. */
#ifndef LUNADEX_LUA_DIFF_H
#define LUNADEX_LUA_DIFF_H

#include <lua.h>

#include "lunadex/diff.h"

/* Pushes the userdata of the set and of the catalog of the diff at `argument`; false where it is none. [-0, +0 or 2, -] */
bool ldx_lua_test_diff(lua_State *L, int argument);

/* What the diff at `argument` says of a declaration; NULL where it is no diff. Raises where there is no such
 * declaration. [-0, +0, v] */
const ldx_change *ldx_lua_test_change(lua_State *L, int argument, lua_Integer ordinal);

#endif
