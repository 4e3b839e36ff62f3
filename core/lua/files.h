/* files.h: what Lua's own library lacks about files. */
#ifndef LUNADEX_LUA_FILES_H
#define LUNADEX_LUA_FILES_H

#include <lua.h>

/* list_directory(path) → its names in byte order, directories (also behind symbolic links) with a `/` at the end,
 * `.` and `..` left out; or nil, message, kind, where kind is "missing", "file" (there is something, but it is no
 * directory) or "error". [-0, +1 or 3, v] */
int ldx_lua_list_directory(lua_State *L);

/* resolve_path(path) → where it leads behind symbolic links, kind: "file" for a regular file, "missing" where there is
 * nothing yet (then the path as given), "other" for all else: a directory, a device, a pipe, a link that leads nowhere.
 * [-0, +2, v] */
int ldx_lua_resolve_path(lua_State *L);

/* private_file(path) → true: there is such a file, made if need be, as are the directories it is in; what is made is for
 * its owner alone. Or nil, message. [-0, +1 or 2, v] */
int ldx_lua_private_file(lua_State *L);

#endif
