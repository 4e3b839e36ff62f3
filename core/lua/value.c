/* value.c: DESIGN: a document is a table that has its fields by name and lists their names, so that their order is kept
 * and `ipairs` tells it. What Lua has no type for is a table of a class of its own with `type` and `value`. Tables of
 * scripts need no class: one with the keys 1 … n is a list, one with names a document in order of the names.
 */
#include "lua/value.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lua/userdata.h"

static const char null_class[] = "lunadex.null", value_class[] = "lunadex.Value", list_class[] = "lunadex.List",
                  document_class[] = "lunadex.Document";

enum { DEEPEST = 100 };

/* By ldx_value_kind, from BINARY on. */
static const char *const types[] = {"binary", "text", "date", "long",    "decimal", "object_id", "timestamp",
                                    "regex",  "code", "json", "min_key", "max_key", NULL};

static bool holds_integer(ldx_value_kind kind) {
  return kind == LDX_VALUE_DATE || kind == LDX_VALUE_LONG || kind == LDX_VALUE_TIMESTAMP;
}

static bool holds_bytes(ldx_value_kind kind) {
  return kind == LDX_VALUE_BINARY || kind == LDX_VALUE_RAW_TEXT;
}

static bool holds_nothing(ldx_value_kind kind) {
  return kind == LDX_VALUE_MIN_KEY || kind == LDX_VALUE_MAX_KEY;
}

static bool is_class(lua_State *L, int index, const char *class) {
  if (!lua_getmetatable(L, index)) return false;
  luaL_getmetatable(L, class);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

typedef struct reader {
  lua_State *L;
  ldx_arena *arena;
  int argument, depth;
} reader;

static void refuse(reader *r, const char *what) {
  luaL_argerror(r->L, r->argument, what);
}

static ldx_value read(reader *r, int index, const char *name);

static const char *read_name(reader *r, int index) {
  size_t length;
  const char *name = lua_tolstring(r->L, index, &length);
  if (strlen(name) != length) refuse(r, "a name has a zero byte");
  return ldx_arena_strndup(r->arena, name, length);
}

static void read_bytes(reader *r, int index, ldx_value *value) {
  size_t length;
  const char *text = lua_tolstring(r->L, index, &length);
  char *copy = ldx_arena_alloc(r->arena, length + 1);
  memcpy(copy, text, length);
  value->text = copy;
  value->length = length;
}

/* A table of the class Value; what it holds may have been tampered with. */
static ldx_value read_special(reader *r, int index) {
  lua_State *L = r->L;
  ldx_value value = {.kind = LDX_VALUE_BINARY, .options = ""};
  lua_pushliteral(L, "type");
  const char *type = lua_rawget(L, index) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  int i = 0;
  while (types[i] && strcmp(types[i], type) != 0) i++;
  if (!types[i]) refuse(r, "a value of no known type");
  value.kind = (ldx_value_kind)(LDX_VALUE_BINARY + i);
  lua_pushliteral(L, "value");
  lua_rawget(L, index);
  if (holds_integer(value.kind)) {
    if (!lua_isinteger(L, -1)) refuse(r, "a value without its integer");
    value.integer = lua_tointeger(L, -1);
  } else if (!holds_nothing(value.kind)) {
    if (lua_type(L, -1) != LUA_TSTRING) refuse(r, "a value without its text");
    read_bytes(r, -1, &value);
    if (!holds_bytes(value.kind) && memchr(value.text, '\0', value.length)) refuse(r, "a value has a zero byte");
  }
  lua_pushliteral(L, "options");
  if (lua_rawget(L, index) == LUA_TSTRING) value.options = read_name(r, -1);
  lua_pushliteral(L, "subtype");
  if (lua_rawget(L, index) == LUA_TNUMBER && value.kind == LDX_VALUE_BINARY)
    value.integer = lua_tointeger(L, -1) & 0xff;
  lua_pop(L, 4);
  return value;
}

static ldx_value read_list(reader *r, int index) {
  size_t count = (size_t)lua_rawlen(r->L, index);
  ldx_value *items = LDX_ARENA_NEW(r->arena, ldx_value, count + 1);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(r->L, index, (lua_Integer)i + 1);
    items[i] = read(r, lua_gettop(r->L), NULL);
    lua_pop(r->L, 1);
  }
  return (ldx_value){.kind = LDX_VALUE_LIST, .items = items, .count = count};
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Collects the names of the table at `index`: those that it lists first, then the others in order. A finalizer that runs
 * meanwhile may put more into it than there is room for. */
static const char **names_of(reader *r, int index, bool lists, size_t *count) {
  lua_State *L = r->L;
  size_t room = 0, listed = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) room += lua_type(L, -2) == LUA_TSTRING;
  const char **names = LDX_ARENA_NEW(r->arena, const char *, room + 1);
  lua_newtable(L); /* those that were listed */
  int seen = lua_gettop(L);
  size_t length = lists ? (size_t)lua_rawlen(L, index) : 0;
  for (size_t i = 1; i <= length; i++) {
    if (lua_rawgeti(L, index, (lua_Integer)i) == LUA_TSTRING) {
      lua_pushvalue(L, -1);
      bool fresh = lua_rawget(L, seen) == LUA_TNIL;
      lua_pushvalue(L, -2);
      bool there = lua_rawget(L, index) != LUA_TNIL;
      lua_pop(L, 2);
      if (fresh && there && listed < room) {
        names[listed++] = read_name(r, -1);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, seen);
      }
    }
    lua_pop(L, 1);
  }
  *count = listed;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) continue;
    lua_pushvalue(L, -2);
    if (lua_rawget(L, seen) == LUA_TNIL && *count < room) names[(*count)++] = read_name(r, -3);
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  qsort(names + listed, *count - listed, sizeof *names, by_name);
  return names;
}

static ldx_value read_document(reader *r, int index, bool lists) {
  ldx_value value = {.kind = LDX_VALUE_DOCUMENT};
  const char **names = names_of(r, index, lists, &value.count);
  ldx_value *items = LDX_ARENA_NEW(r->arena, ldx_value, value.count + 1);
  for (size_t i = 0; i < value.count; i++) {
    lua_pushstring(r->L, names[i]);
    lua_rawget(r->L, index);
    items[i] = read(r, lua_gettop(r->L), names[i]);
    lua_pop(r->L, 1);
  }
  value.names = names;
  value.items = items;
  return value;
}

/* Operands of these are lists, so an empty table there is an empty list. */
static bool takes_list(const char *name) {
  static const char *const names[] = {"$in", "$nin", "$all", "$and", "$or", "$nor", "pipeline", "documents"};
  for (size_t i = 0; name && i < sizeof names / sizeof *names; i++)
    if (!strcmp(name, names[i])) return true;
  return false;
}

/* A table without a class. */
static ldx_value read_plain(reader *r, int index, const char *name) {
  lua_State *L = r->L;
  size_t length = (size_t)lua_rawlen(L, index), numbers = 0, others = 0;
  for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
    if (lua_type(L, -2) == LUA_TSTRING)
      others++;
    else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) >= 1 && (size_t)lua_tointeger(L, -2) <= length)
      numbers++;
    else
      refuse(r, "a table is neither a list nor has names only");
  }
  if (numbers ? others || numbers != length : false) refuse(r, "a table is neither a list nor has names only");
  return numbers || (!others && takes_list(name)) ? read_list(r, index) : read_document(r, index, false);
}

static ldx_value read_table(reader *r, int index, const char *name) {
  if (is_class(r->L, index, value_class)) return read_special(r, index);
  if (++r->depth > DEEPEST) refuse(r, "a table is nested too deeply, or holds itself");
  luaL_checkstack(r->L, 12, NULL);
  ldx_value value = is_class(r->L, index, list_class)       ? read_list(r, index)
                    : is_class(r->L, index, document_class) ? read_document(r, index, true)
                                                            : read_plain(r, index, name);
  r->depth--;
  return value;
}

static ldx_value read(reader *r, int index, const char *name) {
  lua_State *L = r->L;
  ldx_value value = {.kind = LDX_VALUE_NULL};
  switch (lua_type(L, index)) {
  case LUA_TNIL:
    return value;
  case LUA_TBOOLEAN:
    return (ldx_value){.kind = LDX_VALUE_BOOLEAN, .boolean = lua_toboolean(L, index)};
  case LUA_TNUMBER:
    if (lua_isinteger(L, index)) return (ldx_value){.kind = LDX_VALUE_INTEGER, .integer = lua_tointeger(L, index)};
    return (ldx_value){.kind = LDX_VALUE_NUMBER, .number = lua_tonumber(L, index)};
  case LUA_TSTRING:
    value.kind = LDX_VALUE_TEXT;
    read_bytes(r, index, &value);
    return value;
  case LUA_TTABLE:
    return read_table(r, index, name);
  default:
    if (luaL_testudata(L, index, null_class)) return value;
    refuse(r, lua_pushfstring(L, "a %s cannot be sent", luaL_typename(L, index)));
    return value;
  }
}

ldx_value ldx_lua_check_value(lua_State *L, int index, int argument, ldx_arena *arena) {
  reader r = {L, arena, argument, 0};
  luaL_checkstack(L, 12, NULL);
  return read(&r, lua_absindex(L, index), NULL);
}

/* --- pushing -------------------------------------------------------------------------------------------------------- */

static void push_null(lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "lunadex.null value");
}

static void set_class(lua_State *L, const char *class) {
  luaL_setmetatable(L, class);
}

static void push_special(lua_State *L, const ldx_value *value) {
  lua_createtable(L, 0, 3);
  lua_pushstring(L, types[value->kind - LDX_VALUE_BINARY]);
  lua_setfield(L, -2, "type");
  if (holds_integer(value->kind))
    lua_pushinteger(L, value->integer);
  else
    lua_pushlstring(L, value->text ? value->text : "", value->length);
  if (holds_nothing(value->kind))
    lua_pop(L, 1);
  else
    lua_setfield(L, -2, "value");
  if (value->kind == LDX_VALUE_BINARY) {
    lua_pushinteger(L, value->integer);
    lua_setfield(L, -2, "subtype");
  } else if (value->kind == LDX_VALUE_REGEX) {
    lua_pushstring(L, value->options);
    lua_setfield(L, -2, "options");
  }
  set_class(L, value_class);
}

static void push_value(lua_State *L, const ldx_value *value);

/* Tables get what is in them before their class: nothing of the script's can be called by it. */
static void push_members(lua_State *L, const ldx_value *value, bool named) {
  luaL_checkstack(L, 6, NULL);
  lua_createtable(L, (int)value->count, named ? (int)value->count : 0);
  for (size_t i = 0; i < value->count; i++) {
    if (named) {
      lua_pushstring(L, value->names[i]);
      lua_pushvalue(L, -1);
      lua_rawseti(L, -3, (lua_Integer)i + 1);
    }
    push_value(L, &value->items[i]);
    if (named)
      lua_rawset(L, -3);
    else
      lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  set_class(L, named ? document_class : list_class);
}

static void push_value(lua_State *L, const ldx_value *value) {
  switch (value->kind) {
  case LDX_VALUE_NULL:
    push_null(L);
    break;
  case LDX_VALUE_BOOLEAN:
    lua_pushboolean(L, value->boolean);
    break;
  case LDX_VALUE_INTEGER:
    lua_pushinteger(L, value->integer);
    break;
  case LDX_VALUE_NUMBER:
    lua_pushnumber(L, value->number);
    break;
  case LDX_VALUE_TEXT:
    lua_pushlstring(L, value->text, value->length);
    break;
  case LDX_VALUE_LIST:
    push_members(L, value, false);
    break;
  case LDX_VALUE_DOCUMENT:
    push_members(L, value, true);
    break;
  default:
    push_special(L, value);
  }
}

/* Which columns have a later one of their name: they stand in a row under their numbers. The answer is on top.
 * [-0, +1, m] */
static const bool *repeated_columns(lua_State *L, const ldx_result *rows) {
  bool *repeated = lua_newuserdatauv(L, rows->column_count + 1, 0);
  lua_newtable(L); /* the names of those behind */
  for (size_t i = rows->column_count; rows->columns && i-- > 0;) {
    repeated[i] = lua_getfield(L, -1, rows->columns[i]) != LUA_TNIL;
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, rows->columns[i]);
  }
  lua_pop(L, 1);
  return repeated;
}

void ldx_lua_push_rows(lua_State *L, const ldx_result *rows) {
  luaL_checkstack(L, 8, NULL);
  const bool *repeated = repeated_columns(L, rows);
  lua_createtable(L, (int)rows->row_count, 3);
  lua_insert(L, -2);
  for (size_t i = 0; i < rows->row_count; i++) {
    const ldx_value *row = rows->values + i * rows->column_count;
    if (rows->columns)
      lua_createtable(L, 0, (int)rows->column_count);
    else
      push_value(L, row);
    for (size_t j = 0; rows->columns && j < rows->column_count; j++) {
      if (row[j].kind == LDX_VALUE_NULL) continue;
      push_value(L, &row[j]);
      if (repeated[j])
        lua_rawseti(L, -2, (lua_Integer)j + 1);
      else
        lua_setfield(L, -2, rows->columns[j]);
    }
    lua_rawseti(L, -3, (lua_Integer)i + 1);
  }
  lua_pop(L, 1);
  if (rows->columns) {
    lua_createtable(L, (int)rows->column_count, 0);
    for (size_t i = 0; i < rows->column_count; i++) {
      lua_pushstring(L, rows->columns[i]);
      lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "columns");
  }
  lua_pushstring(L, rows->command);
  lua_setfield(L, -2, "command");
  if (rows->affected < 0) return;
  lua_pushinteger(L, (lua_Integer)rows->affected);
  lua_setfield(L, -2, "affected");
}

/* --- functions ------------------------------------------------------------------------------------------------------ */

int ldx_lua_value(lua_State *L) {
  int i = luaL_checkoption(L, 1, NULL, types);
  ldx_value value = {.kind = (ldx_value_kind)(LDX_VALUE_BINARY + i), .options = ""};
  lua_settop(L, 3);
  if (holds_integer(value.kind)) {
    value.integer = luaL_checkinteger(L, 2);
  } else if (!holds_nothing(value.kind)) {
    luaL_checktype(L, 2, LUA_TSTRING);
    value.text = holds_bytes(value.kind) ? lua_tolstring(L, 2, &value.length) : ldx_lua_check_text(L, 2);
    if (!holds_bytes(value.kind)) value.length = strlen(value.text);
  }
  if (value.kind == LDX_VALUE_BINARY) value.integer = luaL_optinteger(L, 3, 0) & 0xff;
  if (value.kind == LDX_VALUE_REGEX && !lua_isnil(L, 3)) value.options = ldx_lua_check_text(L, 3);
  push_special(L, &value);
  return 1;
}

int ldx_lua_document(lua_State *L) {
  int count = lua_gettop(L);
  luaL_argcheck(L, count % 2 == 0, count ? count : 1, "a name without its value");
  lua_createtable(L, count / 2, count / 2);
  for (int i = 1; i < count; i += 2) {
    luaL_checktype(L, i, LUA_TSTRING);
    lua_pushvalue(L, i);
    lua_rawseti(L, -2, i / 2 + 1);
    lua_pushvalue(L, i);
    lua_pushvalue(L, i + 1);
    if (lua_isnil(L, -1)) {
      lua_pop(L, 1);
      push_null(L);
    }
    lua_rawset(L, -3);
  }
  set_class(L, document_class);
  return 1;
}

int ldx_lua_list(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argcheck(L, !lua_getmetatable(L, 1) || is_class(L, 1, list_class), 1, "a table without a metatable expected");
  lua_settop(L, 1);
  set_class(L, list_class);
  return 1;
}

static bool same_field(lua_State *L, const char *field) {
  lua_pushstring(L, field);
  lua_rawget(L, 1);
  lua_pushstring(L, field);
  lua_rawget(L, 2);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

static int value_eq(lua_State *L) {
  bool both = lua_istable(L, 1) && lua_istable(L, 2) && is_class(L, 1, value_class) && is_class(L, 2, value_class);
  lua_pushboolean(L, both && same_field(L, "type") && same_field(L, "value") && same_field(L, "options") &&
                         same_field(L, "subtype"));
  return 1;
}

/* Of milliseconds since 1970; false: of a year that has not four digits. */
static bool print_date(char *text, size_t size, lua_Integer milliseconds) {
  lua_Integer rest = milliseconds % 1000;
  if (rest < 0) rest += 1000;
  time_t seconds = (time_t)((milliseconds - rest) / 1000);
  struct tm at;
  if (!gmtime_r(&seconds, &at) || at.tm_year < -1900 || at.tm_year > 9999 - 1900) return false;
  snprintf(text, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", at.tm_year + 1900, at.tm_mon + 1, at.tm_mday, at.tm_hour,
           at.tm_min, at.tm_sec, (int)rest);
  return true;
}

/* The bytes at 3 in hexadecimal, so many of them as say what it is. [-0, +1, m] */
static void push_hexadecimal(lua_State *L) {
  enum { MOST = 64 };
  size_t length;
  const unsigned char *bytes = (const unsigned char *)lua_tolstring(L, 3, &length);
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  for (size_t i = 0; i < length && i < MOST; i++) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", bytes[i]);
    luaL_addstring(&buffer, digits);
  }
  if (length > MOST) luaL_addstring(&buffer, "…");
  luaL_pushresult(&buffer);
}

/* As a person reads it: what is in it, behind its type. */
static int value_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushliteral(L, "type");
  if (lua_rawget(L, 1) != LUA_TSTRING) return luaL_argerror(L, 1, "a value expected");
  lua_pushliteral(L, "value");
  int held = lua_rawget(L, 1);
  const char *type = lua_tostring(L, 2);
  char date[64];
  if (!strcmp(type, "date") && lua_isinteger(L, 3) && print_date(date, sizeof date, lua_tointeger(L, 3))) {
    lua_pushfstring(L, "date(%s)", date);
  } else if (!strcmp(type, "timestamp") && lua_isinteger(L, 3)) {
    lua_Unsigned both = (lua_Unsigned)lua_tointeger(L, 3);
    lua_pushfstring(L, "timestamp(%I, %I)", (LUAI_UACINT)(both >> 32), (LUAI_UACINT)(both & 0xffffffff));
  } else if (!strcmp(type, "regex") && held == LUA_TSTRING) {
    lua_pushliteral(L, "options");
    bool has_options = lua_rawget(L, 1) == LUA_TSTRING;
    lua_pushfstring(L, "regex(/%s/%s)", lua_tostring(L, 3), has_options ? lua_tostring(L, 4) : "");
  } else if (!strcmp(type, "binary") && held == LUA_TSTRING) {
    push_hexadecimal(L);
    lua_pushfstring(L, "binary(%s)", lua_tostring(L, -1));
  } else if (held == LUA_TSTRING || held == LUA_TNUMBER) {
    lua_pushfstring(L, "%s(%s)", type, lua_tostring(L, 3));
  } else {
    lua_pushvalue(L, 2);
  }
  return 1;
}

/* --- the fields of a document, in the order in which they are sent ------------------------------------------------- */

typedef struct field_name {
  const char *text;
  size_t length;
} field_name;

static int by_bytes(const void *a, const void *b) {
  const field_name *left = a, *right = b;
  int order = memcmp(left->text, right->text, left->length < right->length ? left->length : right->length);
  return order ? order : (left->length > right->length) - (left->length < right->length);
}

/* Appends the name on top, which it pops, to the list at 2, unless it is there already or there is no such field.
 * [-1, +0, m] */
static lua_Integer append_name(lua_State *L, lua_Integer count) {
  lua_pushvalue(L, -1);
  bool fresh = lua_rawget(L, 3) == LUA_TNIL;
  lua_pushvalue(L, -2);
  bool there = lua_rawget(L, 1) != LUA_TNIL;
  lua_pop(L, 2);
  if (fresh && there) {
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, ++count);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, 1);
    lua_rawset(L, 3);
  }
  lua_pop(L, 1);
  return count;
}

/* Sorts the list at 2 from `first` on; the strings live in it meanwhile. [-0, +0, m] */
static void sort_names(lua_State *L, lua_Integer first, lua_Integer last) {
  size_t count = (size_t)(last - first + 1);
  field_name *names = lua_newuserdatauv(L, count * sizeof *names, 0);
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, 2, first + (lua_Integer)i);
    names[i].text = lua_tolstring(L, -1, &names[i].length);
    lua_pop(L, 1);
  }
  qsort(names, count, sizeof *names, by_bytes);
  lua_newtable(L); /* keeps them, while those of the list are replaced */
  for (size_t i = 0; i < count; i++) {
    lua_pushlstring(L, names[i].text, names[i].length);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, -1, (lua_Integer)i + 1);
    lua_rawseti(L, 2, first + (lua_Integer)i);
  }
  lua_pop(L, 2);
}

/* Upvalues: the names, and how many of them were told. */
static int document_next(lua_State *L) {
  lua_Integer at = lua_tointeger(L, lua_upvalueindex(2));
  do {
    lua_settop(L, 1);
    if (lua_rawgeti(L, lua_upvalueindex(1), ++at) == LUA_TNIL) return 0;
    lua_pushvalue(L, -1);
  } while (lua_rawget(L, 1) == LUA_TNIL); /* taken out meanwhile */
  lua_pushinteger(L, at);
  lua_replace(L, lua_upvalueindex(2));
  return 2;
}

/* Those that it lists, then what a script has put into it, by name. */
static int document_pairs(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_newtable(L); /* 2: the names */
  lua_newtable(L); /* 3: those that are there */
  lua_Integer count = 0;
  for (lua_Integer i = 1; lua_rawgeti(L, 1, i) != LUA_TNIL; i++) {
    if (lua_type(L, -1) == LUA_TSTRING)
      count = append_name(L, count);
    else
      lua_pop(L, 1);
  }
  lua_settop(L, 3);
  lua_Integer listed = count;
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) continue;
    lua_pushvalue(L, -2);
    count = append_name(L, count);
  }
  if (count > listed + 1) sort_names(L, listed + 1, count);
  lua_settop(L, 2);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, document_next, 2);
  lua_pushvalue(L, 1);
  return 2;
}

static int null_tostring(lua_State *L) {
  lua_pushliteral(L, "null");
  return 1;
}

static int null_newindex(lua_State *L) {
  return luaL_error(L, "null is a value, nothing can be put into it");
}

static void make_class(lua_State *L, const char *name, const luaL_Reg *meta) {
  if (luaL_newmetatable(L, name)) {
    luaL_setfuncs(L, meta, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
  }
  lua_pop(L, 1);
}

void ldx_lua_open_value(lua_State *L) {
  static const luaL_Reg none[] = {{NULL, NULL}},
                        null_meta[] = {{"__tostring", null_tostring}, {"__newindex", null_newindex}, {NULL, NULL}},
                        value_meta[] = {{"__eq", value_eq}, {"__tostring", value_tostring}, {NULL, NULL}},
                        document_meta[] = {{"__pairs", document_pairs}, {NULL, NULL}};
  make_class(L, null_class, null_meta);
  make_class(L, value_class, value_meta);
  make_class(L, list_class, none);
  make_class(L, document_class, document_meta);
  ldx_lua_new(L, null_class, 0, 0);
  lua_pushvalue(L, -1);
  lua_setfield(L, LUA_REGISTRYINDEX, "lunadex.null value");
  lua_setfield(L, -2, "null");
}
