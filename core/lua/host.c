/* host.c: signals, time and the terminal. */
#include <poll.h>
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

static void break_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  if (ldx_signals_caught()) luaL_error(L, "interrupted");
}

int ldx_lua_break_on_signal(lua_State *L) {
  enum { INTERVAL = 1000 };
  lua_sethook(L, break_hook, LUA_MASKCOUNT, INTERVAL);
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
