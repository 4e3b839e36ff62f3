/* diff.h: lunadex.Diff for the other files of the binding. */
#ifndef LUNADEX_LUA_DIFF_H
#define LUNADEX_LUA_DIFF_H

#include <lua.h>

#include "lunadex/diff.h"

/* What the diff at `argument` says of a declaration, with its set's and its catalog's userdata pushed; NULL, and nothing
 * pushed, where it is no diff. Raises where there is no such declaration. [-0, +0 or 2, v] */
const ldx_change *ldx_lua_test_change(lua_State *L, int argument, lua_Integer ordinal);

#endif
