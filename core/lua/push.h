/* push.h: values of the core as Lua sees them (lua/meta/core.lua). */
#ifndef LUNADEX_LUA_PUSH_H
#define LUNADEX_LUA_PUSH_H

#include <lua.h>

#include "lunadex/error.h"
#include "lunadex/index.h"

/* A lunadex.Error; `tostring` of it is "message (hint)". [-0, +1, m] */
void ldx_lua_push_error(lua_State *L, const ldx_error *error);

/* { { name, value }, … }, or nil where there are none. [-0, +1, m] */
void ldx_lua_push_options(lua_State *L, const ldx_options *options);

/* A lunadex.Fields; what is the default is left out. `name` may be NULL. [-0, +1, m] */
void ldx_lua_push_fields(lua_State *L, const ldx_definition *definition, const char *name);

#endif
