/* database.h: lunadex.Database, what its two files share: database.c (its life, jobs) and event.c (events as tables).
 */
#ifndef LUNADEX_LUA_DATABASE_H
#define LUNADEX_LUA_DATABASE_H

#include <lua.h>

#include "lua/declarations.h"
#include "lunadex/engine.h"

/* For targets that begin with "fake:"; NULL but in test hosts. */
extern const ldx_driver *ldx_lua_test_driver;
/* ldx_driver_for, and that one. */
const ldx_driver *ldx_lua_driver_for(const char *url, ldx_error *error);

/* A job with what it needs beyond an ldx_job. Plain C memory with counted references, since a finalizer of Lua's may
 * run before the one that ends the workers. */
typedef struct ldx_lua_job {
  ldx_job job; /* first: an event's job is one of these */
  struct ldx_lua_job *previous, *next;
  ldx_lua_set *set;       /* RESOLVE */
  ldx_catalog **catalogs; /* retained for the job's inputs */
  size_t catalog_count;
} ldx_lua_job;

/* The event, which the caller owns, as a table. Of a DONE event's job the results are moved out. [-0, +1, m] */
void ldx_lua_push_event(lua_State *L, const ldx_event *event);

#endif
