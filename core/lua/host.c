/* host.c: signals, time and the terminal. */
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "lua/userdata.h"

int ldx_lua_catch_signals(lua_State *L) {
  if (!ldx_signals_catch()) return luaL_error(L, "cannot make a pipe for signals");
  return 0;
}

int ldx_lua_signal(lua_State *L) {
  int signal = ldx_signals_caught();
  if (signal)
    lua_pushinteger(L, signal);
  else
    lua_pushnil(L);
  return 1;
}

int ldx_lua_forget_signal(lua_State *L) {
  (void)L;
  ldx_signals_forget();
  return 0;
}

/* Its address is the registry's key of the function. */
static const char computing_key = 0;

static void computing_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &computing_key);
  lua_call(L, 0, 0);
}

static void outside_hook(lua_State *L, lua_Debug *ar) {
  static const char library[] = "@lua/lunadex/";
  lua_getinfo(L, "S", ar);
  if (strncmp(ar->source, library, sizeof library - 1) != 0) computing_hook(L, ar);
}

/* A hook of C's, since a coroutine has that of who makes it; those of debug.sethook are each thread's own. */
int ldx_lua_call_while_computing(lua_State *L) {
  enum { INTERVAL = 10000 };
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_Hook hook = lua_toboolean(L, 2) ? computing_hook : outside_hook;
  int interval = lua_toboolean(L, 3) ? 1 : INTERVAL;
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &computing_key);
  lua_sethook(L, hook, LUA_MASKCOUNT, interval);
  return 0;
}

int ldx_lua_now(lua_State *L) {
  lua_pushnumber(L, ldx_clock_now());
  return 1;
}

int ldx_lua_terminal(lua_State *L) {
  lua_Integer fd = luaL_checkinteger(L, 1);
  luaL_argcheck(L, fd >= 0 && fd <= 2, 1, "0, 1 or 2 expected");
  if (!isatty((int)fd)) {
    lua_pushnil(L);
    return 1;
  }
  struct winsize size = {0};
  /* A terminal that does not know, such as a serial line, gets what all have. */
  bool known = ioctl((int)fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  lua_pushinteger(L, known ? size.ws_col : 80);
  return 1;
}

/* Of a pipe that means room for PIPE_BUF bytes; with nobody at its other end a write fails at once, and does not wait. */
int ldx_lua_writable(lua_State *L) {
  struct pollfd stream = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLOUT};
  lua_pushboolean(L, poll(&stream, 1, 0) != 0);
  return 1;
}
