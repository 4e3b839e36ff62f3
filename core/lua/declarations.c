#include "lua/declarations.h"

#include <stdlib.h>
#include <string.h>

#include "lua/definition.h"
#include "lua/push.h"
#include "lua/userdata.h"
#include "lunadex/driver.h"

static const char class[] = "lunadex.Declarations";

/* What is closed goes with the userdata: a call that has it in hand may run what closes it. */
typedef struct handle {
  ldx_lua_set *set;
  bool closed;
} handle;

void ldx_lua_set_release(ldx_lua_set *set) {
  if (!set || --set->references > 0) return;
  ldx_declarations_free(set->set);
  ldx_lua_set_release(set->origin);
  ldx_catalog_release(set->catalog);
  free(set);
}

ldx_lua_set *ldx_lua_check_set(lua_State *L, int argument) {
  const handle *h = luaL_checkudata(L, argument, class);
  if (!h->set || h->closed) {
    luaL_argerror(L, argument, "attempt to use closed declarations");
    return NULL; /* not reached */
  }
  luaL_argcheck(L, !h->set->busy, argument, "these declarations are being resolved");
  return h->set;
}

bool ldx_lua_set_is_free(const void *userdata) {
  const handle *h = userdata;
  return h->set && !h->closed && !h->set->busy;
}

ldx_declared *ldx_lua_check_declared(lua_State *L, int argument, lua_Integer ordinal) {
  ldx_lua_set *set = ldx_lua_check_set(L, argument);
  luaL_argcheck(L, ordinal >= 1 && (size_t)ordinal <= ldx_declarations_count(set->set), argument + 1,
                "no such declaration");
  return ldx_declarations_at(set->set, (size_t)ordinal - 1);
}

/* [-0, +1, m] */
static ldx_lua_set *push_set(lua_State *L) {
  handle *h = ldx_lua_new(L, class, sizeof *h, 0);
  ldx_lua_set *set = calloc(1, sizeof *set);
  if (!set) {
    luaL_error(L, "not enough memory");
    return NULL; /* not reached */
  }
  set->references = 1;
  h->set = set;
  return set;
}

int ldx_lua_declarations(lua_State *L) {
  ldx_lua_set *set = push_set(L); /* which may raise: before there is anything to lose */
  set->set = ldx_declarations_new();
  return 1;
}

static int copy(lua_State *L) {
  ldx_lua_check_set(L, 1);
  ldx_lua_set *set = push_set(L), *origin = ldx_lua_check_set(L, 1);
  origin->frozen = true;
  origin->references++;
  set->origin = origin;
  set->set = ldx_declarations_copy(origin->set);
  return 1;
}

static int spell(lua_State *L) {
  ldx_lua_set *set = ldx_lua_check_set(L, 1);
  luaL_argcheck(L, set->origin && !set->catalog, 1, "a copy that was not resolved expected");
  const ldx_driver *driver = ldx_driver_named(luaL_checkstring(L, 2));
  if (!driver) return 0; /* this build has none */
  if (driver->spell) driver->spell(set->set);
  ldx_declarations_set_dialect(set->set, driver->dialect);
  return 0;
}

static ldx_lua_set *check_open_set(lua_State *L) {
  ldx_lua_set *set = ldx_lua_check_set(L, 1);
  luaL_argcheck(L, !set->frozen, 1, "these declarations have been copied or resolved: nothing can be added");
  return set;
}

/* Gives ordinal, name, and the ordinal of its twin. */
static int added(lua_State *L, const ldx_lua_set *set, const ldx_lua_fields *fields) {
  ldx_declared *declared = ldx_declarations_add(set->set);
  ldx_definition *definition = LDX_ARENA_NEW(ldx_declarations_arena(set->set), ldx_definition, 1);
  *definition = fields->definition;
  declared->definition = definition;
  declared->name = fields->name;
  declared->duplicate_of = fields->duplicate_of;
  ldx_declarations_find_twin(set->set);
  size_t twin = declared->twin;
  lua_pushinteger(L, (lua_Integer)ldx_declarations_count(set->set));
  lua_pushstring(L, fields->name);
  if (twin == SIZE_MAX) return 2;
  lua_pushinteger(L, (lua_Integer)twin + 1);
  return 3;
}

static int add(lua_State *L) {
  ldx_lua_set *set = check_open_set(L);
  ldx_lua_fields fields;
  /* A table that raises half-way leaves its strings behind until the set goes; that is a bug of the caller's anyway. */
  ldx_lua_check_fields(L, 2, ldx_declarations_arena(set->set), &fields);
  return added(L, set, &fields);
}

static int add_plain(lua_State *L) {
  ldx_lua_set *set = check_open_set(L);
  ldx_arena *arena = ldx_declarations_arena(set->set);
  ldx_kind kind;
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 6, LUA_TTABLE);
  if (!ldx_kind_parse(luaL_checkstring(L, 3), &kind)) luaL_argerror(L, 3, "kind of index or key expected");
  ldx_name relation = {ldx_lua_opt_text(L, 4), ldx_lua_check_text(L, 5)};
  ldx_lua_fields fields;
  if (!ldx_lua_take_plain(L, 2, kind, 6, arena, &fields)) return 0;
  fields.definition.relation =
      (ldx_name){ldx_arena_strdup(arena, relation.schema), ldx_arena_strdup(arena, relation.name)};
  return added(L, set, &fields);
}

static int add_relation(lua_State *L) {
  ldx_lua_set *set = check_open_set(L);
  ldx_declarations_add_relation(set->set, (ldx_name){ldx_lua_opt_text(L, 2), ldx_lua_check_text(L, 3)});
  return 0;
}

static int count(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)ldx_declarations_count(ldx_lua_check_set(L, 1)->set));
  return 1;
}

static ldx_declared *check_entry(lua_State *L) {
  return ldx_lua_check_declared(L, 1, luaL_checkinteger(L, 2));
}

static int twin(lua_State *L) {
  const ldx_declared *declared = check_entry(L);
  if (declared->twin == SIZE_MAX) return 0;
  lua_pushinteger(L, (lua_Integer)declared->twin + 1);
  return 1;
}

static int text(lua_State *L) {
  const ldx_declared *declared = check_entry(L);
  ldx_arena *arena = ldx_lua_push_arena(L);
  const ldx_wording *words = ldx_dialect_wording(ldx_declarations_dialect(ldx_lua_check_set(L, 1)->set));
  lua_pushstring(L, words->text(arena, declared->resolved ? declared->canonical : declared->definition));
  ldx_lua_free_arena(L, -2);
  return 1;
}

static int fields(lua_State *L) {
  const ldx_declared *declared = check_entry(L);
  ldx_definition definition = declared->resolved ? *declared->canonical : *declared->definition;
  if (declared->relation) definition.relation = declared->relation->name;
  ldx_lua_push_fields(L, &definition, declared->name);
  return 1;
}

/* What `select` asks of a definition; what is not asked for is NULL or -1. */
typedef struct filter {
  const char *kind, *method;
  int unique, where, sharded;
  lua_Integer keys, type;
} filter;

static const char *text_field(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  const char *value = ldx_lua_opt_text(L, -1);
  lua_pop(L, 1); /* the table has it */
  return value;
}

static int flag_field(lua_State *L, const char *name) {
  int value = lua_getfield(L, 2, name) == LUA_TNIL ? -1 : lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static lua_Integer number_field(lua_State *L, const char *name) {
  lua_getfield(L, 2, name);
  lua_Integer value = luaL_optinteger(L, -1, -1);
  lua_pop(L, 1);
  return value;
}

static bool fits_text(const char *wanted, const char *value) {
  return !wanted || (value && strcmp(wanted, value) == 0);
}

/* Of one column alone; where nobody knows it, it may be any. */
static bool fits_type(const ldx_declared *declared, const ldx_definition *definition, lua_Integer wanted) {
  if (wanted == -1) return true;
  if (definition->key_count != 1 || !definition->keys->column) return false;
  if (!declared->relation) return true;
  const ldx_column *column = ldx_relation_column(declared->relation, definition->keys->column);
  return column && (lua_Integer)column->base == wanted;
}

/* Where nobody knows the relation, it may be any. */
static bool fits_sharded(const ldx_declared *declared, int wanted) {
  return wanted < 0 || !declared->relation || wanted == (declared->relation->shard_key != NULL);
}

static bool fits(const filter *f, const ldx_declared *declared) {
  const ldx_definition *definition = declared->resolved ? declared->canonical : declared->definition;
  bool unique = ldx_definition_is_unique(definition);
  return fits_text(f->kind, ldx_kind_name(definition->kind)) && fits_text(f->method, definition->method) &&
         (f->unique < 0 || f->unique == unique) && (f->where < 0 || f->where == (definition->predicate != NULL)) &&
         (f->keys < 0 || (size_t)f->keys == definition->key_count) && fits_type(declared, definition, f->type) &&
         fits_sharded(declared, f->sharded);
}

static int select_some(lua_State *L) {
  ldx_lua_check_set(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  filter f = {.kind = text_field(L, "kind"), .method = text_field(L, "method")};
  f.unique = flag_field(L, "unique");
  f.where = flag_field(L, "where");
  f.sharded = flag_field(L, "sharded");
  f.keys = number_field(L, "keys");
  f.type = number_field(L, "type");
  ldx_lua_set *set = ldx_lua_check_set(L, 1); /* a metatable of the table's may have closed it */
  lua_newtable(L);
  lua_Integer found = 0;
  for (size_t i = 0; i < ldx_declarations_count(set->set); i++) {
    if (!fits(&f, ldx_declarations_at(set->set, i))) continue;
    lua_pushinteger(L, (lua_Integer)i + 1);
    lua_rawseti(L, -2, ++found);
  }
  return 1;
}

static int set_close(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, class);
  h->closed = true;
  return 0;
}

static int set_gc(lua_State *L) {
  handle *h = luaL_checkudata(L, 1, class);
  ldx_lua_set_release(h->set);
  h->set = NULL;
  return 0;
}

static int set_tostring(lua_State *L) {
  const handle *h = luaL_checkudata(L, 1, class);
  if (h->set && !h->closed)
    lua_pushfstring(L, "%s: %I", class, (LUAI_UACINT)ldx_declarations_count(h->set->set));
  else
    lua_pushfstring(L, "%s (closed)", class);
  return 1;
}

void ldx_lua_open_declarations(lua_State *L) {
  static const luaL_Reg meta[] = {
      {"__gc", set_gc}, {"__close", set_close}, {"__len", count}, {"__tostring", set_tostring}, {NULL, NULL}};
  static const luaL_Reg methods[] = {{"add", add},
                                     {"add_plain", add_plain},
                                     {"add_relation", add_relation},
                                     {"copy", copy},
                                     {"spell", spell},
                                     {"count", count},
                                     {"twin", twin},
                                     {"text", text},
                                     {"fields", fields},
                                     {"overlaps", ldx_lua_overlaps},
                                     {"select", select_some},
                                     {NULL, NULL}};
  ldx_lua_class(L, class, meta, methods, NULL);
}
