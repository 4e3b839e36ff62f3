/* editor.h: a line editor on a terminal, for `lunadex.core`. */
#ifndef LUNADEX_LUA_EDITOR_H
#define LUNADEX_LUA_EDITOR_H

#include <lua.h>

/* Registers the class lunadex.Editor; called once by luaopen_lunadex_core. [-0, +0, m] */
void ldx_lua_open_editor(lua_State *L);

/* core.editor, as lua/meta/core.lua describes it. */
int ldx_lua_editor(lua_State *L);

#endif
