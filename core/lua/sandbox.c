#include "lua/sandbox.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* How often the hook looks. A coroutine starts with a full interval of its own, so code that makes many short ones
 * escapes the count by at most this factor over what making them costs; a smaller one makes honest code slower. */
enum { INTERVAL = 100, BYTES_PER_INSTRUCTION = 16, SMALL = 4096 };

typedef struct limits {
  lua_Alloc alloc; /* the state's own, which does the work */
  void *alloc_data;
  int64_t memory; /* what may still be allocated; grows with what is freed */
  int64_t collect_at;
  bool memory_exhausted;
  lua_Integer instructions; /* what may still be executed */
  bool instructions_exhausted;
  double seconds; /* of this thread, that it may take */
  double begun;   /* by the thread's clock */
  double look_at; /* by a clock that costs nothing to read: when to look at that one */
  bool time_exhausted;
} limits;

static double read_clock(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* An instruction may call what runs for long inside C, as table.insert does in a long list; so time is looked at, too.
 * It is the thread's own, for the machine may be busy with something else. */
static bool is_late(limits *limit) {
  double now = read_clock(CLOCK_MONOTONIC_COARSE);
  if (now < limit->look_at) return false;
  limit->look_at = now + 0.05;
  return read_clock(CLOCK_THREAD_CPUTIME_ID) - limit->begun > limit->seconds;
}

/* Its address is the registry's key of the limits in force, where a hook on any thread of the state finds them. */
static const char limits_key = 0;

/* Frees and shrinks always succeed: Lua relies on it. When growing is refused, Lua first collects all garbage and asks
 * again, so that only what is alive counts. */
static void *limited_alloc(void *data, void *block, size_t old_size, size_t new_size) {
  limits *limit = data;
  /* For a new block Lua passes the kind of object as its old size. */
  int64_t growth = (int64_t)new_size - (block ? (int64_t)old_size : 0);
  if (growth > 0) {
    if (growth > limit->memory) {
      limit->memory_exhausted = true;
      return NULL;
    }
    /* Moving memory is work as well: without this, joining long strings in a loop would take few instructions and
     * hours. Once the count is used up nothing large is made any more, for the same reason; what is small is left to
     * the hook, whose message has a line. */
    limit->instructions -= growth / BYTES_PER_INSTRUCTION;
    if (limit->instructions <= 0 && growth > SMALL) {
      limit->instructions_exhausted = true;
      return NULL;
    }
  }
  void *result = limit->alloc(limit->alloc_data, block, old_size, new_size);
  if (result || new_size == 0) limit->memory -= growth;
  return result;
}

/* NULL: none are in force. [-0, +0, -] */
static limits *limits_of(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &limits_key);
  limits *limit = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return limit;
}

static void count_hook(lua_State *L, lua_Debug *ar);

/* Takes so much off what may be executed. When nothing is left, raises at the line that Lua is at. [-0, +0, v] */
static void count(lua_State *L, limits *limit, lua_Integer instructions) {
  limit->instructions = instructions < limit->instructions ? limit->instructions - instructions : 0;
  if (!limit->instructions_exhausted && !limit->time_exhausted) {
    if (limit->instructions <= 0)
      limit->instructions_exhausted = true;
    else if (is_late(limit))
      limit->time_exhausted = true;
    else
      return;
  }
  /* From now on at every instruction, lest a pcall between two looks goes on for a while. */
  lua_sethook(L, count_hook, LUA_MASKCOUNT, 1);
  int level = 0;
  lua_Debug ar;
  while (lua_getstack(L, level, &ar) && lua_getinfo(L, "l", &ar) && ar.currentline <= 0) level++; /* in C */
  luaL_where(L, level);
  lua_pushstring(L, limit->time_exhausted ? "too much time" : "too many instructions");
  lua_concat(L, 2);
  lua_error(L);
}

static void count_hook(lua_State *L, lua_Debug *ar) {
  (void)ar;
  limits *limit = limits_of(L);
  if (!limit) {
    /* A coroutine that outlived its run and is resumed by somebody else. */
    lua_sethook(L, NULL, 0, 0);
    return;
  }
  /* Refusing memory makes Lua collect garbage and ask again, but not so its string buffers, which ask the allocator
   * themselves: so there should be little garbage when memory runs short, whatever the collector's pace is set to. */
  if (limit->memory < limit->collect_at) {
    lua_gc(L, LUA_GCCOLLECT, 0);
    limit->collect_at = limit->memory / 2;
  }
  count(L, limit, INTERVAL);
}

void ldx_lua_charge(lua_State *L, lua_Integer instructions) {
  limits *limit = limits_of(L);
  if (limit) count(L, limit, instructions);
}

static lua_Number limit_seconds(lua_State *L) {
  lua_getfield(L, 2, "seconds");
  lua_Number value = luaL_optnumber(L, -1, 60);
  lua_pop(L, 1);
  luaL_argcheck(L, value > 0, 2, "limits must be positive");
  return value;
}

static lua_Integer limit_field(lua_State *L, const char *name) {
  if (lua_getfield(L, 2, name) != LUA_TNUMBER) luaL_argerror(L, 2, "integers 'instructions' and 'memory' expected");
  lua_Integer value = luaL_checkinteger(L, -1);
  lua_pop(L, 1);
  luaL_argcheck(L, value > 0, 2, "limits must be positive");
  return value;
}

int ldx_lua_run_limited(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_checktype(L, 2, LUA_TTABLE);
  limits limit = {.instructions = limit_field(L, "instructions"), .memory = limit_field(L, "memory")};
  limit.collect_at = limit.memory / 2;
  limit.seconds = limit_seconds(L);
  limit.begun = read_clock(CLOCK_THREAD_CPUTIME_ID);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &limits_key); /* of a run around this one, or nil */
  lua_pushlightuserdata(L, &limit);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &limits_key);
  lua_pushvalue(L, 1);

  lua_Hook hook = lua_gethook(L);
  int mask = lua_gethookmask(L);
  int count = lua_gethookcount(L);
  limit.alloc = lua_getallocf(L, &limit.alloc_data);

  /* Nothing between here and the restoring may raise. */
  lua_setallocf(L, limited_alloc, &limit);
  lua_sethook(L, count_hook, LUA_MASKCOUNT, INTERVAL);
  int status = lua_pcall(L, 0, 1, 0);
  lua_sethook(L, hook, mask, count);
  lua_setallocf(L, limit.alloc, limit.alloc_data);

  lua_pushvalue(L, 2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &limits_key); /* the key is there already: allocates nothing */

  lua_pushboolean(L, status == LUA_OK);
  lua_insert(L, -2);
  if (status == LUA_OK) return 2;
  if (limit.time_exhausted) {
    lua_pushliteral(L, "time");
  } else if (limit.instructions_exhausted) {
    lua_pushliteral(L, "instructions");
  } else if (limit.memory_exhausted && status == LUA_ERRMEM) {
    lua_pushliteral(L, "memory");
  } else {
    lua_pushnil(L);
  }
  return 3;
}

int ldx_lua_current_line(lua_State *L) {
  lua_Debug ar;
  int line = 0;
  if (lua_getstack(L, (int)luaL_optinteger(L, 1, 1), &ar) && lua_getinfo(L, "l", &ar) && ar.currentline > 0)
    line = ar.currentline;
  lua_pushinteger(L, line);
  return 1;
}
