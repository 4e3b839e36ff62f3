/* DESIGN
 *
 * Sorted arrays: a few hundred entries each, read once, then only looked up. The rule for default operator classes is
 * the server's own (GetDefaultOpClass): an exact match of the type, else the one binary-coercible input type, else the
 * one preferred type among several. Where the rule said something else than the server would, live and canonical
 * definitions would still be rendered alike, since both come through here.
 */
#include "dictionary.h"

#include <stdlib.h>
#include <string.h>

#include "postgres_sql.h"
#include "render.h"

/* Fixed numbers of the polymorphic pseudo-types. */
enum {
  TYPE_RECORD = 2249,
  TYPE_ANY = 2276,
  TYPE_ANYARRAY = 2277,
  TYPE_ANYELEMENT = 2283,
  TYPE_ANYNONARRAY = 2776,
  TYPE_ANYENUM = 3500,
  TYPE_ANYRANGE = 3831,
  TYPE_ANYMULTIRANGE = 4537,
};

typedef struct named {
  uint32_t id;
  const char *name;
} named;

typedef struct opclass {
  uint32_t id;
  const char *name;
  uint32_t method, type;
  bool is_default;
} opclass;

typedef struct type {
  uint32_t id;
  char kind, category;
  bool preferred, not_null;
  uint32_t base, element;
} type;

typedef struct cast {
  uint32_t from, to;
} cast;

/* All entries start with the number they are sorted by. */
typedef struct list {
  char *items;
  size_t size, count, room;
  bool sorted;
} list;

enum { MEMO = 256 };

struct ldx_pg_dictionary {
  ldx_arena *arena;
  list methods, tablespaces, collations, opclasses, types, casts;
  struct {
    uint32_t method, type, opclass;
    bool known;
  } memo[MEMO];
};

/* --- lists -------------------------------------------------------------------------------------------------------- */

static void *list_add(ldx_arena *arena, list *l, size_t size) {
  if (l->count == l->room) {
    size_t room = l->room ? l->room * 2 : 256;
    char *items = ldx_arena_alloc(arena, room * size);
    if (l->count) memcpy(items, l->items, l->count * size);
    l->items = items;
    l->room = room;
    l->size = size;
  }
  return l->items + l->size * l->count++;
}

static int compare_ids(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Sorted when it is first asked, which is after its query has run. */
static const void *list_find(list *l, uint32_t id) {
  if (l->count == 0) return NULL;
  if (!l->sorted) qsort(l->items, l->count, l->size, compare_ids);
  l->sorted = true;
  return bsearch(&id, l->items, l->count, l->size, compare_ids);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

ldx_pg_dictionary *ldx_pg_dictionary_new(ldx_arena *arena) {
  ldx_pg_dictionary *dictionary = LDX_ARENA_NEW(arena, ldx_pg_dictionary, 1);
  dictionary->arena = arena;
  return dictionary;
}

/* What is in pg_catalog needs no schema: nothing can hide it. */
static const char *notation(ldx_arena *arena, const char *schema, const char *name) {
  ldx_name qualified = {schema && strcmp(schema, "pg_catalog") == 0 ? NULL : schema, name};
  return ldx_pg_display_name(arena, qualified);
}

static void read_named(ldx_pg_dictionary *dictionary, list *l, char **fields) {
  named *entry = list_add(dictionary->arena, l, sizeof *entry);
  entry->id = ldx_pg_number(fields[0]);
  entry->name =
      fields[1] ? notation(dictionary->arena, fields[1], fields[2]) : ldx_arena_strdup(dictionary->arena, fields[2]);
}

static void read_method(void *state, char **fields) {
  ldx_pg_dictionary *dictionary = state;
  read_named(dictionary, &dictionary->methods, fields);
}

static void read_tablespace(void *state, char **fields) {
  ldx_pg_dictionary *dictionary = state;
  read_named(dictionary, &dictionary->tablespaces, fields);
}

static void read_collation(void *state, char **fields) {
  ldx_pg_dictionary *dictionary = state;
  read_named(dictionary, &dictionary->collations, fields);
}

static void read_opclass(void *state, char **fields) {
  ldx_pg_dictionary *dictionary = state;
  opclass *entry = list_add(dictionary->arena, &dictionary->opclasses, sizeof *entry);
  entry->id = ldx_pg_number(fields[0]);
  entry->name = notation(dictionary->arena, fields[1], fields[2]);
  entry->method = ldx_pg_number(fields[3]);
  entry->is_default = fields[4][0] == 't';
  entry->type = ldx_pg_number(fields[5]);
}

static void read_type(void *state, char **fields) {
  ldx_pg_dictionary *dictionary = state;
  type *entry = list_add(dictionary->arena, &dictionary->types, sizeof *entry);
  entry->id = ldx_pg_number(fields[0]);
  entry->kind = fields[1][0];
  entry->category = fields[2][0];
  entry->preferred = fields[3][0] == 't';
  entry->base = ldx_pg_number(fields[4]);
  entry->element = ldx_pg_number(fields[5]);
  entry->not_null = ldx_pg_true(fields[6]);
}

static void read_cast(void *state, char **fields) {
  ldx_pg_dictionary *dictionary = state;
  cast *entry = list_add(dictionary->arena, &dictionary->casts, sizeof *entry);
  entry->from = ldx_pg_number(fields[0]);
  entry->to = ldx_pg_number(fields[1]);
}

void ldx_pg_dictionary_queries(ldx_pg_dictionary *dictionary, ldx_pg_copy *queries) {
  const ldx_pg_copy all[LDX_PG_DICTIONARY_QUERIES] = {
      {.sql = ldx_sql_methods, .columns = 3, .read = read_method},
      {.sql = ldx_sql_tablespaces, .columns = 3, .read = read_tablespace},
      {.sql = ldx_sql_collations, .columns = 3, .read = read_collation},
      {.sql = ldx_sql_opclasses, .columns = 6, .read = read_opclass},
      {.sql = ldx_sql_types, .columns = 7, .read = read_type},
      {.sql = ldx_sql_casts, .columns = 2, .read = read_cast},
  };
  for (size_t i = 0; i < LDX_PG_DICTIONARY_QUERIES; i++) {
    queries[i] = all[i];
    queries[i].state = dictionary;
  }
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static const char *name_in(list *l, uint32_t id) {
  const named *entry = list_find(l, id);
  return entry ? entry->name : "?";
}

const char *ldx_pg_method_name(ldx_pg_dictionary *dictionary, uint32_t method) {
  return name_in(&dictionary->methods, method);
}

const char *ldx_pg_tablespace_name(ldx_pg_dictionary *dictionary, uint32_t tablespace) {
  return name_in(&dictionary->tablespaces, tablespace);
}

ldx_strings ldx_pg_tablespace_names(ldx_pg_dictionary *dictionary, ldx_arena *arena) {
  const named *entries = (const named *)dictionary->tablespaces.items;
  size_t count = dictionary->tablespaces.count;
  ldx_strings names = {count, LDX_ARENA_NEW(arena, const char *, count)};
  for (size_t i = 0; i < count; i++) names.items[i] = entries[i].name;
  return names;
}

const char *ldx_pg_collation_name(ldx_pg_dictionary *dictionary, uint32_t collation) {
  return name_in(&dictionary->collations, collation);
}

const char *ldx_pg_opclass_name(ldx_pg_dictionary *dictionary, uint32_t id) {
  const opclass *entry = list_find(&dictionary->opclasses, id);
  return entry ? entry->name : "?";
}

/* --- default operator classes -------------------------------------------------------------------------------------- */

static bool has_cast(ldx_pg_dictionary *dictionary, uint32_t from, uint32_t to) {
  const cast *casts = (const cast *)dictionary->casts.items;
  for (size_t i = 0; i < dictionary->casts.count; i++)
    if (casts[i].from == from && casts[i].to == to) return true;
  return false;
}

/* A type that was not read is the row type of a relation. */
static bool coercible(ldx_pg_dictionary *dictionary, uint32_t from, const type *t, uint32_t to) {
  bool array = t && t->category == 'A' && t->element != 0;
  switch (to) {
  case TYPE_ANY:
  case TYPE_ANYELEMENT:
    return true;
  case TYPE_ANYARRAY:
    return array;
  case TYPE_ANYNONARRAY:
    return !array;
  case TYPE_ANYENUM:
    return t && t->kind == 'e';
  case TYPE_ANYRANGE:
    return t && t->kind == 'r';
  case TYPE_ANYMULTIRANGE:
    return t && t->kind == 'm';
  case TYPE_RECORD:
    return !t || t->kind == 'c';
  default:
    return has_cast(dictionary, from, to);
  }
}

uint32_t ldx_pg_base_type(ldx_pg_dictionary *dictionary, uint32_t id, bool *not_null) {
  /* What has a number below this one is the server's, and none of its types in pg_catalog is a domain. */
  enum { FIRST_THAT_MAY_BE_ONE = 10000 };
  *not_null = false;
  if (id < FIRST_THAT_MAY_BE_ONE) return id;
  const type *t = list_find(&dictionary->types, id);
  for (; t && t->base != 0; t = list_find(&dictionary->types, id)) {
    *not_null = *not_null || t->not_null;
    id = t->base;
  }
  return id;
}

static uint32_t default_opclass(ldx_pg_dictionary *dictionary, uint32_t method, uint32_t id) {
  bool not_null;
  id = ldx_pg_base_type(dictionary, id, &not_null);
  const type *t = list_find(&dictionary->types, id);
  const opclass *all = (const opclass *)dictionary->opclasses.items;
  uint32_t any = 0, preferred = 0;
  size_t any_count = 0, preferred_count = 0;
  for (size_t i = 0; i < dictionary->opclasses.count; i++) {
    if (all[i].method != method || !all[i].is_default) continue;
    if (all[i].type == id) return all[i].id;
    if (!coercible(dictionary, id, t, all[i].type)) continue;
    const type *input = list_find(&dictionary->types, all[i].type);
    if (t && input && input->preferred && input->category == t->category) {
      preferred = all[i].id;
      preferred_count++;
    } else {
      any = all[i].id;
      any_count++;
    }
  }
  if (preferred_count == 1) return preferred;
  return preferred_count == 0 && any_count == 1 ? any : 0;
}

bool ldx_pg_opclass_is_default(ldx_pg_dictionary *dictionary, uint32_t method, uint32_t id, uint32_t type_id) {
  size_t slot = (method * 31u + type_id * 17u) % MEMO;
  if (!dictionary->memo[slot].known || dictionary->memo[slot].method != method ||
      dictionary->memo[slot].type != type_id) {
    dictionary->memo[slot].known = true;
    dictionary->memo[slot].method = method;
    dictionary->memo[slot].type = type_id;
    dictionary->memo[slot].opclass = default_opclass(dictionary, method, type_id);
  }
  return dictionary->memo[slot].opclass == id;
}
