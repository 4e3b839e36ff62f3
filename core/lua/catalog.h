/* catalog.h: lunadex.Catalog and the views into it, for the other files of the binding.
 *
 * A view is a pointer; its user value is the catalog's userdata, which keeps the memory alive. While a view of a
 * relation or index exists, asking for it again gives the same one, so that views compare and serve as keys.
 */
#ifndef LUNADEX_LUA_CATALOG_H
#define LUNADEX_LUA_CATALOG_H

#include <lua.h>

#include "lunadex/catalog.h"

/* Takes over one reference; *slot is set to NULL once the userdata has it. [-0, +1, m] */
void ldx_lua_push_catalog(lua_State *L, ldx_catalog **slot);
ldx_catalog *ldx_lua_check_catalog(lua_State *L, int argument);

/* `catalog` is the stack index of its userdata; NULL pushes nil. [-0, +1, m] */
void ldx_lua_push_relation(lua_State *L, int catalog, ldx_relation *relation);
void ldx_lua_push_live(lua_State *L, int catalog, ldx_live *live);

/* The view at `index`, or NULL if it is none; *catalog is whose it is. [-0, +0, -] */
ldx_relation *ldx_lua_test_relation(lua_State *L, int index, ldx_catalog **catalog);
ldx_live *ldx_lua_test_live(lua_State *L, int index, ldx_catalog **catalog);

#endif
