#include "lua/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_directory(DIR *directory, const struct dirent *entry) {
  if (entry->d_type == DT_DIR) return true;
  if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return false;
  struct stat info;
  return fstatat(dirfd(directory), entry->d_name, &info, 0) == 0 && S_ISDIR(info.st_mode);
}

/* The handle, so that an error of Lua's closes it, too. */
static int close_directory(lua_State *L) {
  DIR **handle = lua_touserdata(L, 1);
  if (*handle) closedir(*handle);
  *handle = NULL;
  return 0;
}

/* Lua's own `<` compares as the locale does, which differs between machines; the order of files must not. */
static int less(lua_State *L) {
  size_t a_length, b_length;
  const char *a = lua_tolstring(L, 1, &a_length);
  const char *b = lua_tolstring(L, 2, &b_length);
  size_t shorter = a_length < b_length ? a_length : b_length;
  int order = memcmp(a, b, shorter);
  lua_pushboolean(L, order != 0 ? order < 0 : a_length < b_length);
  return 1;
}

int ldx_lua_list_directory(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  DIR **handle = lua_newuserdatauv(L, sizeof(DIR *), 0);
  *handle = NULL;
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, close_directory);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, close_directory);
  lua_setfield(L, -2, "__close");
  lua_setmetatable(L, -2);
  lua_toclose(L, -1);

  *handle = opendir(path);
  int code = errno;
  if (*handle) {
    lua_newtable(L);
    errno = 0;
    lua_Integer count = 0;
    for (struct dirent *entry; (entry = readdir(*handle)) != NULL;) {
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      lua_pushfstring(L, "%s%s", entry->d_name, is_directory(*handle, entry) ? "/" : "");
      lua_rawseti(L, -2, ++count);
      errno = 0;
    }
    code = errno;
    if (code == 0) {
      /* table.sort(names, less) */
      luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
      lua_getfield(L, -1, LUA_TABLIBNAME);
      lua_getfield(L, -1, "sort");
      lua_pushvalue(L, -4);
      lua_pushcfunction(L, less);
      lua_call(L, 2, 0);
      lua_pop(L, 2);
      return 1;
    }
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror(code));
  lua_pushstring(L, code == ENOENT ? "missing" : code == ENOTDIR ? "file" : "error");
  return 3;
}

int ldx_lua_resolve_path(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  struct stat info;
  char place[PATH_MAX];
  const char *kind = "other";
  if (stat(path, &info) != 0) {
    if (errno == ENOENT && lstat(path, &info) != 0) kind = "missing";
  } else if (S_ISREG(info.st_mode) && realpath(path, place)) {
    kind = "file";
    lua_pushstring(L, place);
  }
  lua_pushstring(L, kind);
  return 2;
}

int ldx_lua_private_file(lua_State *L) {
  size_t length;
  const char *path = luaL_checklstring(L, 1, &length);
  char place[PATH_MAX];
  luaL_argcheck(L, length < sizeof place, 1, "the path is too long");
  memcpy(place, path, length + 1);
  for (char *at = strchr(place + 1, '/'); at; at = strchr(at + 1, '/')) {
    *at = '\0';
    mkdir(place, 0700); /* if it fails for another reason than that it is there, so does `open` */
    *at = '/';
  }
  int fd = open(place, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  int code = errno;
  if (fd >= 0) {
    close(fd);
    lua_pushboolean(L, 1);
    return 1;
  }
  lua_pushnil(L);
  lua_pushstring(L, strerror(code));
  return 2;
}
