/* preload.h: makes the embedded modules and the binding loadable by `require`. */
#ifndef LUNADEX_HOST_PRELOAD_H
#define LUNADEX_HOST_PRELOAD_H

#include <lua.h>

/* Fills package.preload with `lunadex`, `lunadex.<module>`, `lunadex.plugins.<name>` and `lunadex.core`. Each is
 * compiled when it is first required. [-0, +0, m] */
void ldx_preload(lua_State *L);

#endif
