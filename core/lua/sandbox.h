/* sandbox.h: limits for Lua code that is not ours. What gives an int belongs into the table of `lunadex.core`. */
#ifndef LUNADEX_LUA_SANDBOX_H
#define LUNADEX_LUA_SANDBOX_H

#include <lua.h>

/* run_limited(chunk, { instructions =, memory = }) → true, result | false, message, "instructions" | "memory" | nil.
 *
 * Runs `chunk` without arguments. When it has executed about `instructions` VM instructions (allocating 16 bytes counts
 * as one) every further one raises, so that catching the error gains nothing; when it holds more than `memory` bytes beyond what is in use at the start,
 * allocation fails. Both count in coroutines, too. Hook and allocator are as before when it returns. Calls may nest:
 * the inner one then counts for itself. Must be called on a thread that runs no count or line hook of somebody else's
 * that matters: it is suspended meanwhile. [-0, +2 or 3, v] */
int ldx_lua_run_limited(lua_State *L);

/* Counts what is done in C, where no hook looks, as so many instructions of the limited run, if this is one; raises when
 * they are used up. Takes some room on the stack. [-0, +0, v] */
void ldx_lua_charge(lua_State *L, lua_Integer instructions);

/* current_line(level) → the line that the function at `level` is at (1: the caller), 0 if it has none. What
 * debug.getinfo(level, "l").currentline gives, without a table for each call. [-0, +1, -] */
int ldx_lua_current_line(lua_State *L);

#endif
