/* view.c: what rules are shown. A view is a userdata, behind which nothing can be changed: not its fields, and not what
 * is in them, since a table that is asked for is shown as a view of it.
 *
 * Its class says which fields there are. They are values that came with the view, or made by a function when somebody
 * first asks; those of an index come from its definition where that is, without a table for each: there may be tens of
 * thousands, of which a rule mostly wants a word or two.
 */
#include <string.h>

#include "lua/catalog.h"
#include "lua/declarations.h"
#include "lua/diff.h"
#include "lua/push.h"
#include "lua/userdata.h"

/* User values. */
enum { VALUES = 1, RELATION, USER_VALUES = RELATION };

/* Upvalues of `__index`. What indexes are declared and live in keeps their definitions alive. */
enum { CLASS = 1, NAME, FIELDS, SCENE, HINT, SET, CATALOG, KEY_CLASS, UPVALUES = KEY_CLASS };

/* --- tables --------------------------------------------------------------------------------------------------------- */

static const char table_class[] = "lunadex.View";

/* The value at the top, where it is a table, as a view of it. [-1, +1, m] */
static void seal(lua_State *L) {
  if (!lua_istable(L, -1)) return;
  ldx_lua_new(L, table_class, 0, 1);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, VALUES);
}

/* The value at the top, under the key at 2 of the table at `values`, which from now on holds the view. [-1, +1, m] */
static void seal_in(lua_State *L, int values) {
  if (!lua_istable(L, -1)) return;
  seal(L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, values);
}

/* Asked for more often than all else: so its class is found without its name. */
static int table_index(lua_State *L) {
  bool is_one = lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(CLASS));
  luaL_argcheck(L, is_one, 1, "a view of a table expected");
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, VALUES);
  lua_pushvalue(L, 2);
  lua_rawget(L, 3);
  seal_in(L, 3);
  return 1;
}

static int table_next(lua_State *L) {
  luaL_checkudata(L, 1, table_class);
  lua_settop(L, 2);
  lua_getiuservalue(L, 1, VALUES);
  lua_pushvalue(L, 2);
  if (!lua_next(L, 3)) return 0;
  lua_copy(L, -2, 2);
  seal_in(L, 3);
  return 2;
}

static int table_pairs(lua_State *L) {
  luaL_checkudata(L, 1, table_class);
  lua_pushcfunction(L, table_next);
  lua_pushvalue(L, 1);
  return 2;
}

static int table_length(lua_State *L) {
  luaL_checkudata(L, 1, table_class);
  lua_getiuservalue(L, 1, VALUES);
  lua_pushinteger(L, (lua_Integer)lua_rawlen(L, -1));
  return 1;
}

static int table_set(lua_State *L) {
  return luaL_error(L, "a rule cannot set %s: it gives a verdict", luaL_tolstring(L, 2, NULL));
}

/* --- classes -------------------------------------------------------------------------------------------------------- */

static int refuse(lua_State *L) {
  return luaL_error(L, "a rule cannot set %s of %s: it gives a verdict", luaL_tolstring(L, 2, NULL),
                    lua_tostring(L, lua_upvalueindex(1)));
}

static int unknown_field(lua_State *L) {
  const char *hint = NULL;
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_pushvalue(L, lua_upvalueindex(HINT));
    lua_pushvalue(L, 2);
    lua_pushvalue(L, lua_upvalueindex(FIELDS));
    lua_call(L, 2, 1);
    hint = lua_tostring(L, -1);
  }
  return luaL_error(L, "%s has no field \"%s\"%s%s", lua_tostring(L, lua_upvalueindex(NAME)),
                    luaL_tolstring(L, 2, NULL), hint ? "; " : "", hint ? hint : "");
}

/* Two arguments, of which the first is a view of the class; what its class says of the field is pushed. [-?, +1, v] */
static void *check_view(lua_State *L, int *type) {
  lua_settop(L, 2);
  bool is_one = lua_getmetatable(L, 1) && lua_rawequal(L, -1, lua_upvalueindex(CLASS));
  luaL_argcheck(L, is_one, 1, "a view of another class");
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  *type = lua_rawget(L, lua_upvalueindex(FIELDS));
  return lua_touserdata(L, 1);
}

static int view_index(lua_State *L) {
  int type;
  check_view(L, &type);
  if (type == LUA_TNIL) return unknown_field(L);
  lua_getiuservalue(L, 1, VALUES);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, 4) != LUA_TNIL || type != LUA_TFUNCTION) {
    seal_in(L, 4);
    return 1;
  }
  lua_pushvalue(L, 3);
  lua_pushvalue(L, lua_upvalueindex(SCENE));
  lua_pushvalue(L, 4);
  lua_call(L, 2, 1);
  seal(L);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -2);
  lua_rawset(L, 4);
  return 1;
}

/* The metatable of a class whose name, fields, scene and hint are at `first` and after it, and the other upvalues behind
 * these. [-0, +1, m] */
static void push_class(lua_State *L, int first, lua_CFunction index) {
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, first);
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, first);
  lua_pushcclosure(L, refuse, 1);
  lua_setfield(L, -2, "__newindex");
  lua_pushvalue(L, -1);
  for (int i = 0; i < UPVALUES - 1; i++) lua_pushvalue(L, first + i);
  lua_pushcclosure(L, index, UPVALUES);
  lua_setfield(L, -2, "__index");
}

/* Upvalue: the class. */
static int make_view(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_newuserdatauv(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, VALUES);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_setmetatable(L, -2);
  return 1;
}

/* name, fields, scene, hint at 1. */
static void check_class(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  luaL_checktype(L, 2, LUA_TTABLE);
  luaL_checktype(L, 4, LUA_TFUNCTION);
  static const luaL_Reg meta[] = {
      {"__len", table_length}, {"__pairs", table_pairs}, {"__newindex", table_set}, {NULL, NULL}};
  ldx_lua_class(L, table_class, meta, NULL, NULL);
  luaL_getmetatable(L, table_class);
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, table_index, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

int ldx_lua_views(lua_State *L) {
  lua_settop(L, 4);
  check_class(L);
  lua_settop(L, UPVALUES - 1);
  push_class(L, 1, view_index);
  lua_pushcclosure(L, make_view, 1);
  return 1;
}

/* --- indexes -------------------------------------------------------------------------------------------------------- */

typedef struct field {
  const char *name;
  int number;
} field;

/* Those of which there is one value for a definition, then those that are tables. */
/* clang-format off */
#define WORDS(X) \
  X(name) X(relation) X(kind) X(method) X(where) X(unique) X(nulls_not_distinct) X(without_overlaps) X(tablespace) \
  X(deferrable) X(initially_deferred) X(not_enforced) X(on_update) X(on_delete) X(match) X(position) X(declared)
#define TABLES(X) X(keys) X(include) X(traits) X(with) X(references) X(on_delete_columns)
#define KEY_FIELDS(X) \
  X(column) X(expression) X(descending) X(nulls) X(opclass) X(opclass_options) X(collation) X(operator)

enum {
  I_none,
#define X(name) I_##name,
  WORDS(X)
  I_words,
  TABLES(X)
#undef X
};
enum {
  K_none,
#define X(name) K_##name,
  KEY_FIELDS(X)
#undef X
};
#define X(name) {#name, I_##name},
static const field index_fields[] = {WORDS(X) TABLES(X)};
#undef X
#define X(name) {#name, K_##name},
static const field key_fields[] = {KEY_FIELDS(X)};
#undef X
/* clang-format on */

typedef struct index_view {
  const ldx_definition *definition;
  const char *name;
  ldx_relation *relation; /* NULL: there is none, or no catalog */
  ldx_live *live;         /* NULL: nothing is, or nobody looked */
  lua_Integer ordinal;    /* 0: it is live and not declared */
} index_view;

typedef struct key_view {
  const ldx_key *key;
  ldx_relation *relation; /* NULL: there is none, or no catalog */
  bool declared;
} key_view;

/* Whether definitions are still there, in the set or catalog. [-0, +0, -] */
static bool is_there(lua_State *L, bool declared) {
  const void *userdata = lua_touserdata(L, lua_upvalueindex(declared ? SET : CATALOG));
  return userdata && (declared ? ldx_lua_set_is_free(userdata) : *(void *const *)userdata != NULL);
}

static void push_flag(lua_State *L, bool value) {
  if (value)
    lua_pushboolean(L, 1);
  else
    lua_pushnil(L);
}

static void push_unless(lua_State *L, const char *value, const char *usual) {
  lua_pushstring(L, value && *value && strcmp(value, usual) != 0 ? value : NULL);
}

static void push_text(lua_State *L, const char *text) {
  push_unless(L, text, "");
}

/* Of the view at 1; false where it is no such word. [-0, +0 or 1, m] */
static bool push_word(lua_State *L, const index_view *view, int number) {
  const ldx_definition *definition = view->definition;
  bool foreign_key = definition->kind == LDX_KIND_FOREIGN_KEY;
  switch (number) {
  case I_name:
    push_text(L, view->name ? view->name : view->live ? view->live->name : NULL);
    return true;
  case I_relation:
    lua_getiuservalue(L, 1, RELATION);
    return true;
  case I_kind:
    lua_pushstring(L, ldx_kind_name(definition->kind));
    return true;
  case I_method:
    lua_pushstring(L, foreign_key ? NULL : definition->method ? definition->method : "btree");
    return true;
  case I_where:
    push_text(L, definition->predicate);
    return true;
  case I_unique:
    if (foreign_key)
      lua_pushnil(L);
    else
      lua_pushboolean(L, ldx_definition_is_unique(definition));
    return true;
  case I_nulls_not_distinct:
    push_flag(L, definition->nulls_not_distinct);
    return true;
  case I_without_overlaps:
    push_flag(L, definition->without_overlaps);
    return true;
  case I_tablespace:
    push_text(L, definition->tablespace);
    return true;
  case I_deferrable:
    push_flag(L, definition->deferrable);
    return true;
  case I_initially_deferred:
    push_flag(L, definition->initially_deferred);
    return true;
  case I_not_enforced:
    push_flag(L, definition->not_enforced);
    return true;
  case I_on_update:
    push_unless(L, foreign_key ? definition->on_update : NULL, "no action");
    return true;
  case I_on_delete:
    push_unless(L, foreign_key ? definition->on_delete : NULL, "no action");
    return true;
  case I_match:
    push_unless(L, foreign_key ? definition->match : NULL, "simple");
    return true;
  case I_position:
    if (view->ordinal)
      lua_pushinteger(L, view->ordinal);
    else
      lua_pushnil(L);
    return true;
  case I_declared:
    lua_pushboolean(L, view->ordinal != 0);
    return true;
  default:
    return false;
  }
}

/* Those of the view at 1. [-0, +1, m] */
static void push_keys(lua_State *L, const index_view *view) {
  const ldx_definition *definition = view->definition;
  lua_createtable(L, (int)definition->key_count, 0);
  for (size_t i = 0; i < definition->key_count; i++) {
    key_view *key = lua_newuserdatauv(L, sizeof *key, 0);
    *key = (key_view){&definition->keys[i], view->relation, view->ordinal != 0};
    lua_pushvalue(L, lua_upvalueindex(KEY_CLASS));
    lua_setmetatable(L, -2);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static bool has_table(const ldx_definition *definition, int number) {
  switch (number) {
  case I_include:
    return definition->include.count > 0;
  case I_traits:
    return definition->traits.count > 0;
  case I_with:
    return definition->storage.count > 0;
  default:
    return definition->kind == LDX_KIND_FOREIGN_KEY;
  }
}

/* Those that are not there are asked for a hundred times as often as the others. */
static void push_table(lua_State *L, const index_view *view, int number) {
  if (number == I_keys) {
    push_keys(L, view);
  } else if (has_table(view->definition, number)) {
    ldx_lua_push_fields(L, view->definition, NULL);
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
  } else {
    lua_pushnil(L);
  }
}

/* What the scene's function, at 3, says of the view at 1. [-0, +1, e] */
static void ask_scene(lua_State *L, const index_view *view) {
  lua_pushvalue(L, 3);
  lua_pushvalue(L, lua_upvalueindex(SCENE));
  push_word(L, view, I_position);
  ldx_lua_push_live(L, lua_upvalueindex(CATALOG), view->live);
  push_word(L, view, I_relation);
  lua_call(L, 4, 1);
}

static int index_index(lua_State *L) {
  int type;
  const index_view *view = check_view(L, &type);
  if (type == LUA_TNIL) return unknown_field(L);
  luaL_argcheck(L, is_there(L, view->ordinal != 0), 1, "attempt to use a view of what is closed");
  int number = type == LUA_TNUMBER ? (int)lua_tointeger(L, 3) : I_none;
  if (push_word(L, view, number)) return 1;
  if (lua_getiuservalue(L, 1, VALUES) == LUA_TTABLE) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, -2) != LUA_TNIL) return 1;
  }
  lua_settop(L, 3);
  if (number > I_words)
    push_table(L, view, number);
  else
    ask_scene(L, view);
  if (lua_isnil(L, -1)) return 1;
  seal(L);
  if (lua_getiuservalue(L, 1, VALUES) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, VALUES);
  }
  lua_pushvalue(L, 2);
  lua_pushvalue(L, -3);
  lua_rawset(L, -3);
  lua_pop(L, 1);
  return 1;
}

/* What the scene's function, at 3, makes of the type of a key's column, whether its type or NOT NULL keeps nulls out of it,
 * its name and its relation; of nothing, where it is none or nobody knows. [-0, +1, e] */
static void ask_about_column(lua_State *L, const key_view *view) {
  const ldx_column *column =
      view->relation && view->key->column ? ldx_relation_column(view->relation, view->key->column) : NULL;
  lua_pushvalue(L, 3);
  lua_pushvalue(L, lua_upvalueindex(SCENE));
  if (column) {
    lua_pushinteger(L, (lua_Integer)column->base);
    lua_pushboolean(L, column->never_null);
    lua_pushstring(L, column->name);
    ldx_lua_push_relation(L, lua_upvalueindex(CATALOG), view->relation);
  }
  lua_call(L, column ? 5 : 1, 1);
}

static int key_index(lua_State *L) {
  int type;
  const key_view *view = check_view(L, &type);
  if (type == LUA_TNIL) return unknown_field(L);
  luaL_argcheck(L, is_there(L, view->declared), 1, "attempt to use a view of what is closed");
  if (type == LUA_TFUNCTION) {
    ask_about_column(L, view);
    return 1;
  }
  const ldx_key *key = view->key;
  switch ((int)lua_tointeger(L, 3)) {
  case K_column:
    push_text(L, key->column);
    break;
  case K_expression:
    push_text(L, key->expression);
    break;
  case K_descending:
    push_flag(L, key->descending);
    break;
  case K_nulls:
    lua_pushstring(L, key->nulls_first == key->descending ? NULL : key->nulls_first ? "first" : "last");
    break;
  case K_opclass:
    push_text(L, key->opclass);
    break;
  case K_opclass_options:
    ldx_lua_push_options(L, &key->opclass_options);
    seal(L);
    break;
  case K_collation:
    push_text(L, key->collation);
    break;
  case K_operator:
    push_text(L, key->operator);
    break;
  default:
    lua_pushnil(L);
    break;
  }
  return 1;
}

/* (ordinal or live index, relation). Upvalues: the class; diff or set; set; catalog. */
static int make_index(lua_State *L) {
  enum { OF_CLASS = 1, FROM, DECLARED_IN, LIVE_IN };
  lua_settop(L, 2);
  luaL_checktype(L, 2, LUA_TSTRING);
  ldx_catalog *catalog;
  index_view made = {.live = lua_isinteger(L, 1) ? NULL : ldx_lua_test_live(L, 1, &catalog)};
  if (made.live) {
    bool is_ours =
        !lua_isnil(L, lua_upvalueindex(LIVE_IN)) && ldx_lua_check_catalog(L, lua_upvalueindex(LIVE_IN)) == catalog;
    luaL_argcheck(L, is_ours, 1, "an index of another catalog");
    made.definition = made.live->definition;
    made.relation = made.live->relation;
  } else {
    made.ordinal = luaL_checkinteger(L, 1);
    lua_pushvalue(L, lua_upvalueindex(FROM));
    const ldx_change *change = ldx_lua_test_change(L, 3, made.ordinal);
    const ldx_declared *declared = change ? change->declared : ldx_lua_check_declared(L, 3, made.ordinal);
    if (change) made.live = change->live;
    made.definition = declared->resolved ? declared->canonical : declared->definition;
    made.relation = declared->relation;
    made.name = declared->name;
  }
  index_view *view = lua_newuserdatauv(L, sizeof *view, USER_VALUES);
  *view = made;
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, RELATION);
  lua_pushvalue(L, lua_upvalueindex(OF_CLASS));
  lua_setmetatable(L, -2);
  return 1;
}

static void add_numbers(lua_State *L, int fields, const field *list, size_t count) {
  luaL_checktype(L, fields, LUA_TTABLE);
  for (size_t i = 0; i < count; i++) {
    lua_pushinteger(L, list[i].number);
    lua_setfield(L, fields, list[i].name);
  }
}

int ldx_lua_index_views(lua_State *L) {
  enum { KEY_FIELDS_AT = 5, FROM = 6 };
  lua_settop(L, FROM);
  add_numbers(L, KEY_FIELDS_AT, key_fields, sizeof key_fields / sizeof *key_fields);
  check_class(L);
  add_numbers(L, 2, index_fields, sizeof index_fields / sizeof *index_fields);
  if (!ldx_lua_test_diff(L, FROM)) {
    ldx_lua_check_set(L, FROM);
    lua_pushvalue(L, FROM);
    lua_pushnil(L);
  }
  int set = FROM + 1, catalog = FROM + 2;
  lua_pushliteral(L, "a key");
  lua_pushvalue(L, KEY_FIELDS_AT);
  lua_pushvalue(L, 3);
  lua_pushvalue(L, 4);
  lua_pushvalue(L, set);
  lua_pushvalue(L, catalog);
  lua_pushnil(L);
  push_class(L, catalog + 1, key_index);
  int keys = lua_gettop(L);
  for (int i = 1; i <= 4; i++) lua_pushvalue(L, i);
  lua_pushvalue(L, set);
  lua_pushvalue(L, catalog);
  lua_pushvalue(L, keys);
  push_class(L, keys + 1, index_index);
  lua_pushvalue(L, FROM);
  lua_pushvalue(L, set);
  lua_pushvalue(L, catalog);
  lua_pushcclosure(L, make_index, 4);
  return 1;
}
