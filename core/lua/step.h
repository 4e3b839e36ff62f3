/* step.h: lunadex.Step (lua/meta/core.lua) → ldx_step and its retry policy. */
#ifndef LUNADEX_LUA_STEP_H
#define LUNADEX_LUA_STEP_H

#include <lua.h>

#include "lunadex/engine.h"

/* Reads the table at `argument`; all that the step points to is allocated in `arena`. Fields it does not know are the
 * caller's own. Raises on a malformed table, blaming that argument. `retry` may be NULL. [-0, +0, v] */
void ldx_lua_check_step(lua_State *L, int argument, ldx_arena *arena, ldx_step *step, ldx_retry_policy *retry);

/* The policy in the table at `argument`; nothing there: as `retry` is. Raises likewise. [-0, +0, v] */
void ldx_lua_opt_retry(lua_State *L, int argument, ldx_retry_policy *retry);

/* retry_delay(attempt, elapsed, random, retry?) → seconds | nil. [-0, +1, v] */
int ldx_lua_retry_delay(lua_State *L);

#endif
