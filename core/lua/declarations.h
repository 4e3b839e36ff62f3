/* declarations.h: lunadex.Declarations for the other files of the binding. */
#ifndef LUNADEX_LUA_DECLARATIONS_H
#define LUNADEX_LUA_DECLARATIONS_H

#include <lua.h>

#include "lunadex/diff.h"

/* Counted, since a job keeps it while Lua may collect the userdata; all on the Lua thread. */
typedef struct ldx_lua_set {
  int references;
  bool busy;   /* a job has it: nobody else touches it */
  bool frozen; /* others point into it: nothing may be added */
  bool diffed; /* a diff points to what it was resolved to: it stays so */
  ldx_declarations *set;
  struct ldx_lua_set *origin; /* of which it is a copy, and which it keeps alive; NULL: none */
  ldx_catalog *catalog;       /* that it was resolved against, retained; NULL before */
} ldx_lua_set;

/* The set of an argument that no job has. [-0, +0, v] */
ldx_lua_set *ldx_lua_check_set(lua_State *L, int argument);
void ldx_lua_set_release(ldx_lua_set *set); /* NULL is fine */
/* The same of one declaration; ordinals begin with 1. [-0, +0, v] */
ldx_declared *ldx_lua_check_declared(lua_State *L, int argument, lua_Integer ordinal);
/* Of the userdata of a set: whether it is neither closed nor with a job. */
bool ldx_lua_set_is_free(const void *userdata);
/* The method that takes a diff: diff.c. */
int ldx_lua_overlaps(lua_State *L);

#endif
