#include "lua/catalog.h"

#include <string.h>

#include "lua/declarations.h"
#include "lua/push.h"
#include "lua/userdata.h"

static const char catalog_class[] = "lunadex.Catalog";
static const char relation_class[] = "lunadex.Relation";
static const char index_class[] = "lunadex.Index";

/* --- catalog -------------------------------------------------------------------------------------------------------- */

void ldx_lua_push_catalog(lua_State *L, ldx_catalog **slot) {
  ldx_catalog **handle = ldx_lua_new(L, catalog_class, sizeof(ldx_catalog *), 1);
  lua_newtable(L); /* its views by address, as long as somebody has them */
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_setiuservalue(L, -2, 1);
  *handle = *slot;
  *slot = NULL;
}

ldx_catalog *ldx_lua_check_catalog(lua_State *L, int argument) {
  ldx_catalog **handle = luaL_checkudata(L, argument, catalog_class);
  luaL_argcheck(L, *handle, argument, "attempt to use a closed catalog");
  return *handle;
}

static int catalog_gc(lua_State *L) {
  ldx_catalog **handle = luaL_checkudata(L, 1, catalog_class);
  ldx_catalog_release(*handle);
  *handle = NULL;
  return 0;
}

static int catalog_tostring(lua_State *L) {
  ldx_catalog **handle = luaL_checkudata(L, 1, catalog_class);
  if (*handle)
    lua_pushfstring(L, "%s: %I relations, %I indexes", catalog_class, (LUAI_UACINT)ldx_catalog_relation_count(*handle),
                    (LUAI_UACINT)ldx_catalog_live_count(*handle));
  else
    lua_pushfstring(L, "%s (closed)", catalog_class);
  return 1;
}

/* schema?, name at 2 and 3. */
static ldx_name check_name(lua_State *L) {
  return (ldx_name){ldx_lua_opt_text(L, 2), ldx_lua_check_text(L, 3)};
}

static int catalog_relation(lua_State *L) {
  ldx_catalog *catalog = ldx_lua_check_catalog(L, 1);
  ldx_lua_push_relation(L, 1, ldx_catalog_relation(catalog, check_name(L)));
  return 1;
}

static int catalog_find_index(lua_State *L) {
  ldx_catalog *catalog = ldx_lua_check_catalog(L, 1);
  ldx_lua_push_live(L, 1, ldx_catalog_live(catalog, check_name(L)));
  return 1;
}

/* Upvalues: catalog, position. */
static int next_relation(lua_State *L) {
  ldx_catalog *catalog = ldx_lua_check_catalog(L, lua_upvalueindex(1));
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));
  if ((size_t)i >= ldx_catalog_relation_count(catalog)) return 0;
  lua_pushinteger(L, i + 1);
  lua_replace(L, lua_upvalueindex(2));
  ldx_lua_push_relation(L, lua_upvalueindex(1), ldx_catalog_relation_at(catalog, (size_t)i));
  return 1;
}

static int catalog_relations(lua_State *L) {
  ldx_lua_check_catalog(L, 1);
  lua_settop(L, 1);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_relation, 2);
  return 1;
}

static int catalog_ending(lua_State *L) {
  ldx_catalog *catalog = ldx_lua_check_catalog(L, 1);
  size_t length;
  const char *suffix = luaL_checklstring(L, 2, &length);
  lua_Integer count = 0;
  lua_newtable(L);
  for (size_t i = 0; i < ldx_catalog_relation_count(catalog); i++) {
    const ldx_relation *relation = ldx_catalog_relation_at(catalog, i);
    for (size_t k = 0; k < relation->live_count; k++) {
      const char *name = relation->live[k]->name;
      size_t all = strlen(name);
      if (all < length || memcmp(name + all - length, suffix, length) != 0) continue;
      ldx_lua_push_live(L, 1, relation->live[k]);
      lua_rawseti(L, -2, ++count);
    }
  }
  return 1;
}

static int catalog_tablespaces(lua_State *L) {
  const ldx_strings *names = ldx_catalog_tablespaces(ldx_lua_check_catalog(L, 1));
  lua_createtable(L, (int)names->count, 0);
  for (size_t i = 0; i < names->count; i++) {
    lua_pushstring(L, names->items[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static bool is_sharded(const ldx_catalog *catalog) {
  for (size_t i = 0; i < ldx_catalog_relation_count(catalog); i++)
    if (ldx_catalog_relation_at(catalog, i)->shard_key) return true;
  return false;
}

static int catalog_index(lua_State *L) {
  ldx_catalog *catalog = ldx_lua_check_catalog(L, 1);
  lua_settop(L, 2);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "relation_count") == 0) {
    lua_pushinteger(L, (lua_Integer)ldx_catalog_relation_count(catalog));
  } else if (strcmp(key, "index_count") == 0) {
    lua_pushinteger(L, (lua_Integer)ldx_catalog_live_count(catalog));
  } else if (strcmp(key, "sharded") == 0) {
    lua_pushboolean(L, is_sharded(catalog));
  } else {
    lua_rawget(L, lua_upvalueindex(1));
  }
  return 1;
}

/* --- views ---------------------------------------------------------------------------------------------------------- */

static void push_view(lua_State *L, int catalog, const char *class, void *pointer) {
  if (!pointer) {
    lua_pushnil(L);
    return;
  }
  catalog = lua_absindex(L, catalog);
  lua_getiuservalue(L, catalog, 1);
  if (lua_rawgetp(L, -1, pointer) == LUA_TNIL) {
    lua_pop(L, 1);
    void **view = ldx_lua_new(L, class, sizeof(void *), 1);
    *view = pointer;
    lua_pushvalue(L, catalog);
    lua_setiuservalue(L, -2, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, pointer);
  }
  lua_remove(L, -2);
}

void ldx_lua_push_relation(lua_State *L, int catalog, ldx_relation *relation) {
  push_view(L, catalog, relation_class, relation);
}

void ldx_lua_push_live(lua_State *L, int catalog, ldx_live *live) {
  push_view(L, catalog, index_class, live);
}

static void *test_view(lua_State *L, int index, const char *class, ldx_catalog **catalog) {
  void **view = luaL_testudata(L, index, class);
  if (!view) return NULL;
  lua_getiuservalue(L, index, 1);
  ldx_catalog **handle = lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (!handle || !*handle) return NULL; /* both are being collected */
  *catalog = *handle;
  return *view;
}

ldx_relation *ldx_lua_test_relation(lua_State *L, int index, ldx_catalog **catalog) {
  return test_view(L, index, relation_class, catalog);
}

ldx_live *ldx_lua_test_live(lua_State *L, int index, ldx_catalog **catalog) {
  return test_view(L, index, index_class, catalog);
}

/* The view at 1; its catalog's userdata is pushed. [-0, +1, v] */
static void *check_view(lua_State *L, const char *class) {
  void **view = luaL_checkudata(L, 1, class);
  if (lua_getiuservalue(L, 1, 1) != LUA_TUSERDATA || !*(void **)lua_touserdata(L, -1))
    luaL_argerror(L, 1, "attempt to use a view of a closed catalog");
  return *view;
}

/* Properties by number, beside methods, in one table: lua_rawget finds either. */
typedef struct property {
  const char *name;
  int number;
} property;

/* Into the table of methods, which `__index` has as its upvalue. [-0, +0, m] */
static void add_properties(lua_State *L, const char *class, const property *properties) {
  luaL_getmetatable(L, class);
  lua_getfield(L, -1, "__index");
  lua_getupvalue(L, -1, 1);
  for (; properties->name; properties++) {
    lua_pushinteger(L, properties->number);
    lua_setfield(L, -2, properties->name);
  }
  lua_pop(L, 3);
}

/* 0: a method, or nothing, has been pushed. [-0, +0 or 1, -] */
static int find_property(lua_State *L) {
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER) return 0;
  int number = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return number;
}

/* --- relation ------------------------------------------------------------------------------------------------------- */

enum {
  R_SCHEMA = 1,
  R_NAME,
  R_DISPLAY,
  R_KIND,
  R_ROWS,
  R_BYTES,
  R_PARTITION,
  R_EXTENSION,
  R_PARENT,
  R_SPACE,
  R_ABSENT,
  R_COLLATION,
  R_SHARD_KEY,
  R_OPTIONS,
  R_FAMILY,
  R_NULL_CHECK
};

static const property relation_properties[] = {
    {"schema", R_SCHEMA},
    {"name", R_NAME},
    {"display", R_DISPLAY},
    {"kind", R_KIND},
    {"rows", R_ROWS},
    {"bytes", R_BYTES},
    {"partition", R_PARTITION},
    {"extension_owned", R_EXTENSION},
    {"parent", R_PARENT},
    {"space", R_SPACE},
    {"absent", R_ABSENT},
    {"collation", R_COLLATION},
    {"shard_key", R_SHARD_KEY},
    {"options", R_OPTIONS},
    {"family", R_FAMILY},
    {"null_check", R_NULL_CHECK},
    {NULL, 0},
};

static const char *relation_kind(char kind) {
  switch (kind) {
  case 'r':
    return "table";
  case 'p':
    return "partitioned table";
  case 'm':
    return "materialized view";
  case 'f':
    return "foreign table";
  case 'c':
  case '-':
    return "collection";
  case 't':
    return "time series collection";
  case 'x':
    return "unreadable collection";
  case 'v':
    return "view";
  default:
    return "relation";
  }
}

static int relation_index(lua_State *L) {
  ldx_relation *relation = check_view(L, relation_class);
  int catalog = lua_gettop(L);
  switch (find_property(L)) {
  case R_SCHEMA:
    lua_pushstring(L, relation->name.schema);
    break;
  case R_NAME:
    lua_pushstring(L, relation->name.name);
    break;
  case R_DISPLAY:
    lua_pushstring(L, relation->display);
    break;
  case R_SPACE:
    lua_pushstring(L, relation->space);
    break;
  case R_ABSENT:
    lua_pushboolean(L, relation->kind == '-');
    break;
  case R_COLLATION:
    lua_pushstring(L, relation->collation);
    break;
  case R_SHARD_KEY:
    lua_pushstring(L, relation->shard_key);
    break;
  case R_OPTIONS:
    lua_pushstring(L, relation->options);
    break;
  case R_KIND:
    lua_pushstring(L, relation_kind(relation->kind));
    break;
  case R_ROWS:
    lua_pushnumber(L, relation->rows);
    break;
  case R_BYTES:
    lua_pushnumber(L, relation->bytes);
    break;
  case R_PARTITION:
    lua_pushboolean(L, relation->partition);
    break;
  case R_EXTENSION:
    lua_pushboolean(L, relation->extension_owned);
    break;
  case R_PARENT:
    ldx_lua_push_relation(L, catalog, relation->parent);
    break;
  case R_NULL_CHECK:
    if (relation->null_check)
      lua_pushinteger(L, relation->null_check);
    else
      lua_pushnil(L);
    break;
  case R_FAMILY:
    ldx_lua_push_relation(L, catalog, ldx_relation_family(relation));
    break;
  default:
    break;
  }
  return 1;
}

static int relation_indexes(lua_State *L) {
  ldx_relation *relation = check_view(L, relation_class);
  int catalog = lua_gettop(L);
  lua_createtable(L, (int)relation->live_count, 0);
  for (size_t i = 0; i < relation->live_count; i++) {
    ldx_lua_push_live(L, catalog, relation->live[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int relation_partitions(lua_State *L) {
  ldx_relation *relation = check_view(L, relation_class);
  int catalog = lua_gettop(L);
  lua_newtable(L);
  lua_Integer count = 0;
  for (ldx_relation *each = relation->first_partition; each; each = each->next_partition) {
    ldx_lua_push_relation(L, catalog, each);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int relation_columns(lua_State *L) {
  ldx_relation *relation = check_view(L, relation_class);
  lua_createtable(L, (int)relation->column_count, 0);
  for (size_t i = 0; i < relation->column_count; i++) {
    const ldx_column *column = &relation->columns[i];
    lua_createtable(L, 0, 4);
    lua_pushstring(L, column->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, column->not_null);
    lua_setfield(L, -2, "not_null");
    lua_pushboolean(L, column->never_null);
    lua_setfield(L, -2, "never_null");
    lua_pushinteger(L, (lua_Integer)column->base);
    lua_setfield(L, -2, "base");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int relation_tostring(lua_State *L) {
  ldx_relation *relation = check_view(L, relation_class);
  lua_pushfstring(L, "%s: %s", relation_class, relation->display);
  return 1;
}

/* --- index ---------------------------------------------------------------------------------------------------------- */

enum {
  I_NAME = 1,
  I_RELATION,
  I_KIND,
  I_TEXT,
  I_VALID,
  I_READY,
  I_LIVE,
  I_PARTITIONED,
  I_INHERITED,
  I_EXTENSION,
  I_REFERENCED,
  I_IDENTITY,
  I_CLUSTERED,
  I_DEPENDENTS,
  I_CONSTRAINT,
  I_BYTES,
  I_PARENT,
  I_ID,
  I_CONSTRAINT_ID
};

static const property index_properties[] = {
    {"name", I_NAME},
    {"relation", I_RELATION},
    {"kind", I_KIND},
    {"text", I_TEXT},
    {"valid", I_VALID},
    {"ready", I_READY},
    {"live", I_LIVE},
    {"partitioned", I_PARTITIONED},
    {"inherited", I_INHERITED},
    {"extension_owned", I_EXTENSION},
    {"referenced", I_REFERENCED},
    {"replica_identity", I_IDENTITY},
    {"clustered", I_CLUSTERED},
    {"dependents", I_DEPENDENTS},
    {"constraint", I_CONSTRAINT},
    {"bytes", I_BYTES},
    {"parent", I_PARENT},
    {"id", I_ID},
    {"constraint_id", I_CONSTRAINT_ID},
    {NULL, 0},
};

static int index_index(lua_State *L) {
  ldx_live *live = check_view(L, index_class);
  int catalog = lua_gettop(L);
  switch (find_property(L)) {
  case I_NAME:
    lua_pushstring(L, live->name);
    break;
  case I_RELATION:
    ldx_lua_push_relation(L, catalog, live->relation);
    break;
  case I_KIND:
    lua_pushstring(L, ldx_kind_name(live->definition->kind));
    break;
  case I_TEXT: {
    ldx_arena *arena = ldx_lua_push_arena(L);
    const ldx_dialect *dialect = ldx_catalog_dialect(ldx_lua_check_catalog(L, catalog));
    lua_pushstring(L, ldx_dialect_wording(dialect)->text(arena, live->definition));
    ldx_lua_free_arena(L, -2);
    break;
  }
  case I_VALID:
    lua_pushboolean(L, live->valid);
    break;
  case I_READY:
    lua_pushboolean(L, live->ready);
    break;
  case I_LIVE:
    lua_pushboolean(L, live->live);
    break;
  case I_PARTITIONED:
    lua_pushboolean(L, live->partitioned);
    break;
  case I_INHERITED:
    lua_pushboolean(L, live->inherited);
    break;
  case I_EXTENSION:
    lua_pushboolean(L, live->extension_owned);
    break;
  case I_REFERENCED:
    lua_pushboolean(L, live->referenced);
    break;
  case I_IDENTITY:
    lua_pushboolean(L, live->replica_identity);
    break;
  case I_CLUSTERED:
    lua_pushboolean(L, live->clustered);
    break;
  case I_DEPENDENTS:
    lua_pushstring(L, live->dependents); /* NULL gives nil */
    break;
  case I_CONSTRAINT:
    lua_pushboolean(L, live->constraint_id != 0);
    break;
  case I_BYTES:
    lua_pushnumber(L, live->bytes);
    break;
  case I_PARENT:
    ldx_lua_push_live(L, catalog, live->parent);
    break;
  case I_ID:
    lua_pushinteger(L, live->id);
    break;
  case I_CONSTRAINT_ID:
    lua_pushinteger(L, live->constraint_id);
    break;
  default:
    break;
  }
  return 1;
}

static int index_fields(lua_State *L) {
  ldx_live *live = check_view(L, index_class);
  ldx_definition definition = *live->definition;
  definition.relation = live->relation->name;
  ldx_lua_push_fields(L, &definition, live->name);
  return 1;
}

static bool option(lua_State *L, int table, const char *name) {
  if (lua_isnoneornil(L, table)) return false;
  lua_getfield(L, table, name);
  bool value = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return value;
}

static int index_matches(lua_State *L) {
  if (!lua_isnoneornil(L, 4)) luaL_checktype(L, 4, LUA_TTABLE);
  bool as_index = option(L, 4, "as_index"), storage = option(L, 4, "storage");
  const ldx_lua_set *set = ldx_lua_check_set(L, 2);
  lua_Integer ordinal = luaL_checkinteger(L, 3);
  luaL_argcheck(L, ordinal >= 1 && (size_t)ordinal <= ldx_declarations_count(set->set), 3, "no such declaration");
  const ldx_live *live = check_view(L, index_class);
  const ldx_declared *declared = ldx_declarations_at(set->set, (size_t)ordinal - 1);
  bool matches = false;
  if (declared->resolved) {
    ldx_fingerprint wanted = as_index ? ldx_definition_index_fingerprint(declared->canonical) : declared->fingerprint;
    matches = ldx_fingerprint_equal(live->fingerprint, wanted) &&
              (!storage || ldx_definition_storage_equal(declared->canonical, live->definition));
  }
  lua_pushboolean(L, matches);
  return 1;
}

/* As indexes, whatever they are the index of. */
static int index_equals(lua_State *L) {
  const ldx_live *a = check_view(L, index_class);
  ldx_catalog *catalog;
  const ldx_live *b = ldx_lua_test_live(L, 2, &catalog);
  luaL_argexpected(L, b, 2, index_class);
  lua_pushboolean(L, ldx_fingerprint_equal(ldx_definition_index_fingerprint(a->definition),
                                           ldx_definition_index_fingerprint(b->definition)));
  return 1;
}

static int index_tostring(lua_State *L) {
  ldx_live *live = check_view(L, index_class);
  lua_pushfstring(L, "%s: %s on %s", index_class, live->name, live->relation->display);
  return 1;
}

void ldx_lua_open_catalog(lua_State *L) {
  static const luaL_Reg catalog_meta[] = {{"__gc", catalog_gc}, {"__tostring", catalog_tostring}, {NULL, NULL}};
  static const luaL_Reg catalog_methods[] = {{"relation", catalog_relation},       {"relations", catalog_relations},
                                             {"index", catalog_find_index},        {"ending", catalog_ending},
                                             {"tablespaces", catalog_tablespaces}, {NULL, NULL}};
  static const luaL_Reg relation_meta[] = {{"__tostring", relation_tostring}, {NULL, NULL}};
  static const luaL_Reg relation_methods[] = {
      {"indexes", relation_indexes}, {"partitions", relation_partitions}, {"columns", relation_columns}, {NULL, NULL}};
  static const luaL_Reg index_meta[] = {{"__tostring", index_tostring}, {NULL, NULL}};
  static const luaL_Reg index_methods[] = {
      {"fields", index_fields}, {"matches", index_matches}, {"equals", index_equals}, {NULL, NULL}};
  ldx_lua_class(L, catalog_class, catalog_meta, catalog_methods, catalog_index);
  ldx_lua_class(L, relation_class, relation_meta, relation_methods, relation_index);
  ldx_lua_class(L, index_class, index_meta, index_methods, index_index);
  add_properties(L, relation_class, relation_properties);
  add_properties(L, index_class, index_properties);
}
