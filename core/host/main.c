/* main.c: the program, a Lua 5.4 host with core and library inside.
 *
 * It knows nothing of commands: it makes a Lua state in which `require` finds what is embedded, calls the function that
 * `lunadex.cli.main` returns with the table `arg`, and exits with the status that gives. Compiled with LUNADEX_BUSTED
 * it is build/lunadex-busted, which runs busted in the same surroundings: a sanitized core can then be tested, while a
 * sanitized .so would not load in a stock interpreter.
 */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <locale.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/heap.h"
#include "host/preload.h"

#ifdef LUNADEX_BUSTED
#include "drivers/fake/fake.h"
#include "lua/database.h"

/* `standalone = false`: it reads its options and files from `arg`, as /usr/bin/busted does. */
static const char start[] = "arg = ...; require 'busted.runner'({ standalone = false }); return 0";
#else
static const char start[] = "return require 'lunadex.cli.main'(...)";
#endif

/* A string is a bug of ours (a Lua runtime error) and gets a traceback; whatever is raised on purpose for people is a
 * value that knows how to print itself. [-1, +1, m] */
static int message_handler(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING) {
    luaL_traceback(L, L, lua_tostring(L, 1), 1);
    return 1;
  }
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Runs protected; arguments: argc, argv. Gives the exit status. */
static int run(lua_State *L) {
  int argc = (int)lua_tointeger(L, 1);
  char **argv = lua_touserdata(L, 2);
  luaL_openlibs(L);
  ldx_preload(L);
  if (luaL_loadbufferx(L, start, sizeof start - 1, "@lunadex", "t") != LUA_OK) return lua_error(L);
  lua_createtable(L, argc > 0 ? argc - 1 : 0, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  lua_pushvalue(L, -1);
  lua_setglobal(L, "arg");
  lua_call(L, 1, 1);
  return 1;
}

/* A standard stream that came closed stays unusable instead of becoming the next file that is opened: what is meant for
 * standard output would go to the server's socket. */
static void keep_standard_streams(void) {
  for (int fd = 0; fd <= 2; fd++)
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) return;
}

int main(int argc, char **argv) {
  keep_standard_streams();
  /* Text is UTF-8 or whatever the user's terminal speaks; numbers and dates keep the C form, which JSON and SQL need. */
  setlocale(LC_CTYPE, "");
  /* `lunadex apply | head` must not die in the middle of a build and leave it half done: writes fail instead. */
  signal(SIGPIPE, SIG_IGN);

#ifdef LUNADEX_BUSTED
  ldx_lua_test_driver = &ldx_driver_fake;
#endif
  ldx_heap *heap = ldx_heap_new();
  lua_State *L = heap ? lua_newstate(ldx_heap_alloc, heap) : NULL;
  if (!L) {
    fputs("lunadex: out of memory\n", stderr);
    return EXIT_FAILURE;
  }
  lua_pushcfunction(L, message_handler);
  lua_pushcfunction(L, run);
  lua_pushinteger(L, argc);
  lua_pushlightuserdata(L, argv);
  int status = EXIT_FAILURE;
  if (lua_pcall(L, 2, 1, 1) != LUA_OK) {
    const char *message = lua_tostring(L, -1);
    fflush(stdout);
    fprintf(stderr, "lunadex: %s\n", message ? message : "unknown error");
  } else {
    status = (int)lua_tointeger(L, -1);
  }
  /* Closes connections and joins workers through __gc, and leaves nothing for leak checkers to find. */
  ldx_heap_close(heap);
  lua_close(L);
  ldx_heap_free(heap);

  /* A result that could not be written, on a full disk say, is no success. A reader that went away is. What a script
   * printed may have failed long ago, and nobody knows why: of a pipe without a reader poll says so. */
  errno = 0;
  bool lost = fflush(stdout) != 0 || ferror(stdout);
  int why = errno;
  struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
  bool unread = why == EPIPE || (poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)));
  if (lost && !unread && (why != 0 || status == EXIT_SUCCESS)) {
    fprintf(stderr, "lunadex: cannot write standard output%s%s\n", why ? ": " : "", why ? strerror(why) : "");
    if (status == EXIT_SUCCESS) status = EXIT_FAILURE;
  }
  return status;
}
