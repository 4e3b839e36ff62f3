#include "lua/definition.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "lua/userdata.h"

/* The table is walked once and each key looked up in a table of numbers, so that a declaration costs what it has, not
 * what it could have: registries of tens of thousands are read in the time a person does not notice.
 */
/* clang-format off */
#define FIELDS(X) \
  X(column) X(expression) X(descending) X(nulls) X(opclass) X(opclass_options) X(collation) X(operator) \
  X(kind) X(schema) X(relation) X(name) X(method) X(keys) X(include) X(where) X(unique) X(nulls_not_distinct) \
  X(without_overlaps) X(traits) X(with) X(tablespace) X(deferrable) X(initially_deferred) X(not_enforced) X(references) \
  X(on_update) X(on_delete) X(on_delete_columns) X(match) X(duplicate_of) X(columns)

typedef enum field_number {
  FIELD_none,
#define X(name) FIELD_##name,
  FIELDS(X)
#undef X
} field_number;

static const char *const field_names[] = {
  "",
#define X(name) #name,
  FIELDS(X)
#undef X
};
/* clang-format on */

enum { FIELD_COUNT = sizeof field_names / sizeof field_names[0] };

/* Its address is the registry's key of the table of numbers. */
static const char numbers_key = 0;

/* [-0, +1, m] */
static void push_numbers(lua_State *L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &numbers_key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_createtable(L, 0, FIELD_COUNT);
  for (int i = 1; i < FIELD_COUNT; i++) {
    lua_pushinteger(L, i);
    lua_setfield(L, -2, field_names[i]);
  }
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &numbers_key);
}

/* What is passed down while a table is read. */
typedef struct reader {
  lua_State *L;
  ldx_arena *arena;
  int argument; /* to blame */
  int numbers;  /* stack index of the table of numbers */
} reader;

static int complain(const reader *r, const char *field, const char *expected) {
  return luaL_argerror(
      r->L, r->argument,
      lua_pushfstring(r->L, "field '%s': %s expected, got %s", field, expected, luaL_typename(r->L, -1)));
}

/* These read the value on top of the stack and leave it there. */

static const char *text(const reader *r, const char *field) {
  if (lua_type(r->L, -1) != LUA_TSTRING) complain(r, field, "string");
  size_t length;
  const char *value = lua_tolstring(r->L, -1, &length);
  if (memchr(value, '\0', length)) complain(r, field, "string without zero bytes");
  return ldx_arena_strndup(r->arena, value, length);
}

static bool flag(const reader *r, const char *field) {
  if (lua_type(r->L, -1) != LUA_TBOOLEAN) complain(r, field, "boolean");
  return lua_toboolean(r->L, -1);
}

static size_t list_length(const reader *r, const char *field) {
  if (lua_type(r->L, -1) != LUA_TTABLE) complain(r, field, "table");
  return (size_t)lua_rawlen(r->L, -1);
}

static ldx_strings strings(const reader *r, const char *field) {
  ldx_strings list = {.count = list_length(r, field)};
  if (list.count) list.items = LDX_ARENA_NEW(r->arena, const char *, list.count);
  for (size_t i = 0; i < list.count; i++) {
    lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
    list.items[i] = text(r, field);
    lua_pop(r->L, 1);
  }
  return list;
}

static ldx_options options(const reader *r, const char *field) {
  ldx_options list = {.count = list_length(r, field)};
  if (list.count) list.items = LDX_ARENA_NEW(r->arena, ldx_option, list.count);
  for (size_t i = 0; i < list.count; i++) {
    lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
    if (lua_type(r->L, -1) != LUA_TTABLE) complain(r, field, "list of { name, value }");
    lua_rawgeti(r->L, -1, 1);
    list.items[i].name = text(r, field);
    lua_pop(r->L, 1);
    lua_rawgeti(r->L, -1, 2);
    list.items[i].value = text(r, field);
    lua_pop(r->L, 2);
  }
  return list;
}

/* The field whose name is at -2 (the value is at -1). */
static field_number number_of(const reader *r) {
  lua_pushvalue(r->L, -2);
  lua_rawget(r->L, r->numbers);
  field_number number = (field_number)lua_tointeger(r->L, -1);
  lua_pop(r->L, 1);
  return number;
}

static void unknown(const reader *r, const char *of) {
  lua_pushvalue(r->L, -2);
  luaL_argerror(r->L, r->argument,
                lua_pushfstring(r->L, "unknown field '%s' of %s", luaL_tolstring(r->L, -1, NULL), of));
}

static void read_key(const reader *r, ldx_key *key) {
  lua_State *L = r->L;
  const char *nulls = NULL;
  if (lua_type(L, -1) != LUA_TTABLE) complain(r, "keys", "list of tables");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    switch (number_of(r)) {
    case FIELD_column:
      key->column = text(r, "column");
      break;
    case FIELD_expression:
      key->expression = text(r, "expression");
      break;
    case FIELD_descending:
      key->descending = flag(r, "descending");
      break;
    case FIELD_nulls:
      nulls = text(r, "nulls");
      if (strcmp(nulls, "first") != 0 && strcmp(nulls, "last") != 0) complain(r, "nulls", "\"first\" or \"last\"");
      break;
    case FIELD_opclass:
      key->opclass = text(r, "opclass");
      break;
    case FIELD_opclass_options:
      key->opclass_options = options(r, "opclass_options");
      break;
    case FIELD_collation:
      key->collation = text(r, "collation");
      break;
    case FIELD_operator:
      key->operator= text(r, "operator");
      break;
    default:
      unknown(r, "a key");
    }
  }
  if (!key->column == !key->expression) luaL_argerror(L, r->argument, "a key needs either a column or an expression");
  key->nulls_first = nulls ? strcmp(nulls, "first") == 0 : key->descending;
}

void ldx_lua_check_key_at(lua_State *L, int index, ldx_arena *arena, ldx_key *out) {
  lua_pushvalue(L, index);
  push_numbers(L);
  lua_insert(L, -2);
  read_key(&(reader){.L = L, .arena = arena, .argument = 1, .numbers = lua_gettop(L) - 1}, out);
  lua_pop(L, 2);
}

static void read_keys(const reader *r, ldx_definition *definition) {
  definition->key_count = list_length(r, "keys");
  if (definition->key_count) definition->keys = LDX_ARENA_NEW(r->arena, ldx_key, definition->key_count);
  for (size_t i = 0; i < definition->key_count; i++) {
    lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
    read_key(r, &definition->keys[i]);
    lua_pop(r->L, 1);
  }
}

static void read_references(const reader *r, ldx_definition *definition) {
  lua_State *L = r->L;
  if (lua_type(L, -1) != LUA_TTABLE) complain(r, "references", "table");
  for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
    switch (number_of(r)) {
    case FIELD_schema:
      definition->references.schema = text(r, "references.schema");
      break;
    case FIELD_relation:
      definition->references.name = text(r, "references.relation");
      break;
    case FIELD_columns:
      definition->references_columns = strings(r, "references.columns");
      break;
    default:
      unknown(r, "'references'");
    }
  }
  if (!definition->references.name) luaL_argerror(L, r->argument, "field 'references': a relation is missing");
}

static void read_kind(const reader *r, ldx_definition *definition) {
  if (lua_type(r->L, -1) != LUA_TSTRING || !ldx_kind_parse(lua_tostring(r->L, -1), &definition->kind))
    complain(r, "kind", "kind of index or key");
}

/* What a table may leave out and a definition may not. */
static void complete(const reader *r, ldx_definition *definition) {
  if (!definition->relation.name) luaL_argerror(r->L, r->argument, "field 'relation' is missing");
  if (definition->key_count == 0) luaL_argerror(r->L, r->argument, "there are no keys");
  if (definition->kind == LDX_KIND_UNIQUE || definition->kind == LDX_KIND_PRIMARY_KEY) definition->unique = true;
  if (definition->kind != LDX_KIND_FOREIGN_KEY) {
    if (!definition->method) definition->method = "btree";
    return;
  }
  definition->method = NULL;
  if (!definition->references.name) luaL_argerror(r->L, r->argument, "a foreign key needs 'references'");
  if (!definition->on_update) definition->on_update = "no action";
  if (!definition->on_delete) definition->on_delete = "no action";
  if (!definition->match) definition->match = "simple";
}

void ldx_lua_check_fields_at(lua_State *L, int index, int argument, ldx_arena *arena, ldx_lua_fields *out) {
  index = lua_absindex(L, index);
  if (lua_type(L, index) != LUA_TTABLE) luaL_argerror(L, argument, "fields: table expected");
  luaL_checkstack(L, 12, NULL);
  push_numbers(L);
  const reader r = {.L = L, .arena = arena, .argument = argument, .numbers = lua_gettop(L)};
  ldx_definition *definition = &out->definition;
  memset(out, 0, sizeof *out);
  bool has_kind = false;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    switch (number_of(&r)) {
    case FIELD_kind:
      read_kind(&r, definition);
      has_kind = true;
      break;
    case FIELD_schema:
      definition->relation.schema = text(&r, "schema");
      break;
    case FIELD_relation:
      definition->relation.name = text(&r, "relation");
      break;
    case FIELD_name:
      out->name = text(&r, "name");
      break;
    case FIELD_method:
      definition->method = text(&r, "method");
      break;
    case FIELD_keys:
      read_keys(&r, definition);
      break;
    case FIELD_include:
      definition->include = strings(&r, "include");
      break;
    case FIELD_where:
      definition->predicate = text(&r, "where");
      break;
    case FIELD_unique:
      definition->unique = flag(&r, "unique");
      break;
    case FIELD_nulls_not_distinct:
      definition->nulls_not_distinct = flag(&r, "nulls_not_distinct");
      break;
    case FIELD_without_overlaps:
      definition->without_overlaps = flag(&r, "without_overlaps");
      break;
    case FIELD_traits:
      definition->traits = options(&r, "traits");
      break;
    case FIELD_with:
      definition->storage = options(&r, "with");
      break;
    case FIELD_tablespace:
      definition->tablespace = text(&r, "tablespace");
      break;
    case FIELD_deferrable:
      definition->deferrable = flag(&r, "deferrable");
      break;
    case FIELD_initially_deferred:
      definition->initially_deferred = flag(&r, "initially_deferred");
      break;
    case FIELD_not_enforced:
      definition->not_enforced = flag(&r, "not_enforced");
      break;
    case FIELD_references:
      read_references(&r, definition);
      break;
    case FIELD_on_update:
      definition->on_update = text(&r, "on_update");
      break;
    case FIELD_on_delete:
      definition->on_delete = text(&r, "on_delete");
      break;
    case FIELD_on_delete_columns:
      definition->on_delete_columns = strings(&r, "on_delete_columns");
      break;
    case FIELD_match:
      definition->match = text(&r, "match");
      break;
    case FIELD_duplicate_of:
      out->duplicate_of = text(&r, "duplicate_of");
      break;
    default:
      unknown(&r, "fields");
    }
  }
  if (!has_kind) luaL_argerror(L, argument, "field 'kind' is missing");
  complete(&r, definition);
  lua_settop(L, r.numbers - 1);
}

void ldx_lua_check_fields(lua_State *L, int argument, ldx_arena *arena, ldx_lua_fields *out) {
  ldx_lua_check_fields_at(L, argument, argument, arena, out);
}

int ldx_lua_fingerprint(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  ldx_fingerprint fingerprint = ldx_fingerprint_of(text, size);
  char digits[33];
  snprintf(digits, sizeof digits, "%016" PRIx64 "%016" PRIx64, fingerprint.high, fingerprint.low);
  lua_pushstring(L, digits);
  return 1;
}

int ldx_lua_check(lua_State *L) {
  const ldx_driver *driver = ldx_driver_named(luaL_checkstring(L, 1));
  ldx_lua_fields fields;
  ldx_error error;
  lua_settop(L, 2);
  ldx_lua_check_fields(L, 2, ldx_lua_push_arena(L), &fields);
  /* This build may have no such driver. */
  bool ok = !driver || !driver->check || driver->check(&fields.definition, &error);
  ldx_lua_free_arena(L, 3);
  lua_pushboolean(L, ok);
  return ok ? 1 : ldx_lua_fail(L, &error);
}

int ldx_lua_short_option(lua_State *L) {
  const ldx_driver *driver = ldx_driver_named(luaL_checkstring(L, 1));
  const char *name = luaL_checkstring(L, 2), *value = luaL_checkstring(L, 3);
  const ldx_wording *words = ldx_dialect_wording(driver ? driver->dialect : NULL);
  lua_settop(L, 3);
  ldx_arena *arena = ldx_lua_push_arena(L);
  lua_pushstring(L, words->short_option ? words->short_option(arena, name, value) : value);
  ldx_lua_free_arena(L, 4);
  return 1;
}
