#include "model/catalog.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* An open-addressing table of pointers. Catalogs are only ever filled and read, and hold up to millions of entries, so a
 * table of that shape takes a third of the memory of one with a node per entry. */
typedef struct table {
  void **slots;
  size_t mask;
} table;

typedef bool (*table_equal)(const void *entry, const void *key);

struct ldx_catalog {
  atomic_int references;
  ldx_arena *arena;
  const ldx_dialect *dialect;
  ldx_strings search_path, tablespaces;
  ldx_relation **relations;
  size_t relation_count, relation_room;
  ldx_live **live;
  size_t live_count, live_room;
  table relations_by_name, relations_by_id, live_by_name, live_by_id;
};

/* --- tables ------------------------------------------------------------------------------------------------------- */

static uint64_t hash_name(ldx_name name) {
  uint64_t seed = name.schema ? XXH3_64bits(name.schema, strlen(name.schema)) : 0;
  return XXH3_64bits_withSeed(name.name, strlen(name.name), seed);
}

static uint64_t hash_id(uint32_t id) {
  return XXH3_64bits(&id, sizeof id);
}

static bool same_name(ldx_name a, ldx_name b) {
  if (strcmp(a.name, b.name) != 0) return false;
  return a.schema && b.schema ? strcmp(a.schema, b.schema) == 0 : a.schema == b.schema;
}

static bool relation_has_name(const void *entry, const void *key) {
  return same_name(((const ldx_relation *)entry)->name, *(const ldx_name *)key);
}

static bool relation_has_id(const void *entry, const void *key) {
  return ((const ldx_relation *)entry)->id == *(const uint32_t *)key;
}

static bool live_has_name(const void *entry, const void *key) {
  const ldx_live *live = entry;
  return same_name((ldx_name){live->relation->space, live->name}, *(const ldx_name *)key);
}

static bool live_has_id(const void *entry, const void *key) {
  return ((const ldx_live *)entry)->id == *(const uint32_t *)key;
}

static void *table_find(const table *t, uint64_t hash, const void *key, table_equal equal) {
  if (!t->slots) return NULL;
  for (size_t i = hash & t->mask; t->slots[i]; i = (i + 1) & t->mask)
    if (equal(t->slots[i], key)) return t->slots[i];
  return NULL;
}

static void table_put(table *t, uint64_t hash, void *entry) {
  size_t i = hash & t->mask;
  while (t->slots[i]) i = (i + 1) & t->mask;
  t->slots[i] = entry;
}

static void *checked(void *memory) {
  if (!memory) abort(); /* as the arena does */
  return memory;
}

/* Empties the table and gives it at least half as many slots again as `count`. */
static void table_size(table *t, size_t count) {
  size_t slots = 1024;
  while (slots < count + count / 2) slots *= 2;
  free(t->slots);
  t->slots = checked(calloc(slots, sizeof *t->slots));
  t->mask = slots - 1;
}

/* --- making ------------------------------------------------------------------------------------------------------- */

ldx_catalog *ldx_catalog_new(const ldx_dialect *dialect) {
  ldx_catalog *catalog = checked(calloc(1, sizeof *catalog));
  catalog->dialect = dialect;
  atomic_init(&catalog->references, 1);
  catalog->arena = ldx_arena_new();
  return catalog;
}

ldx_catalog *ldx_catalog_retain(ldx_catalog *catalog) {
  atomic_fetch_add_explicit(&catalog->references, 1, memory_order_relaxed);
  return catalog;
}

void ldx_catalog_release(ldx_catalog *catalog) {
  if (!catalog || atomic_fetch_sub_explicit(&catalog->references, 1, memory_order_acq_rel) > 1) return;
  free(catalog->relations);
  free(catalog->live);
  free(catalog->relations_by_name.slots);
  free(catalog->relations_by_id.slots);
  free(catalog->live_by_name.slots);
  free(catalog->live_by_id.slots);
  ldx_arena_free(catalog->arena);
  free(catalog);
}

ldx_arena *ldx_catalog_arena(ldx_catalog *catalog) {
  return catalog->arena;
}

void ldx_catalog_set_search_path(ldx_catalog *catalog, ldx_strings schemas) {
  catalog->search_path = schemas;
}

void ldx_catalog_set_tablespaces(ldx_catalog *catalog, ldx_strings tablespaces) {
  catalog->tablespaces = tablespaces;
}

/* Doubles `*items` when it is full. */
static void make_room(void ***items, size_t count, size_t *room) {
  if (count < *room) return;
  *room = *room ? *room * 2 : 512;
  *items = checked(realloc(*items, *room * sizeof **items));
}

ldx_relation *ldx_catalog_add_relation(ldx_catalog *catalog, ldx_name name, uint32_t id) {
  make_room((void ***)&catalog->relations, catalog->relation_count, &catalog->relation_room);
  ldx_relation *relation = LDX_ARENA_NEW(catalog->arena, ldx_relation, 1);
  relation->name = name;
  relation->space = catalog->dialect->names_in_relations ? name.name : name.schema;
  relation->id = id;
  relation->ordinal = catalog->relation_count; /* until finish sorts them */
  catalog->relations[catalog->relation_count++] = relation;
  if (id == 0) return relation;
  table *by_id = &catalog->relations_by_id;
  if (catalog->relation_count * 2 > by_id->mask) {
    table_size(by_id, catalog->relation_count * 2);
    for (size_t i = 0; i + 1 < catalog->relation_count; i++)
      if (catalog->relations[i]->id) table_put(by_id, hash_id(catalog->relations[i]->id), catalog->relations[i]);
  }
  table_put(by_id, hash_id(id), relation);
  return relation;
}

ldx_live *ldx_catalog_add_live(ldx_catalog *catalog, ldx_relation *relation, const char *name, uint32_t id,
                               ldx_definition *definition) {
  make_room((void ***)&catalog->live, catalog->live_count, &catalog->live_room);
  ldx_live *live = LDX_ARENA_NEW(catalog->arena, ldx_live, 1);
  live->relation = relation;
  live->name = name;
  live->id = id;
  live->definition = definition;
  catalog->live[catalog->live_count++] = live;
  relation->live_count++;
  if (id == 0) return live;
  table *by_id = &catalog->live_by_id;
  if (catalog->live_count * 2 > by_id->mask) {
    table_size(by_id, catalog->live_count * 2);
    for (size_t i = 0; i + 1 < catalog->live_count; i++)
      if (catalog->live[i]->id) table_put(by_id, hash_id(catalog->live[i]->id), catalog->live[i]);
  }
  table_put(by_id, hash_id(id), live);
  return live;
}

static int compare_relations(const void *a, const void *b) {
  const ldx_relation *x = *(ldx_relation *const *)a, *y = *(ldx_relation *const *)b;
  int schemas = x->name.schema && y->name.schema ? strcmp(x->name.schema, y->name.schema) : 0;
  return schemas ? schemas : strcmp(x->name.name, y->name.name);
}

static int compare_live(const void *a, const void *b) {
  return strcmp((*(ldx_live *const *)a)->name, (*(ldx_live *const *)b)->name);
}

void ldx_catalog_finish(ldx_catalog *catalog) {
  static const ldx_fingerprint none;
  if (catalog->relation_count > 1)
    qsort(catalog->relations, catalog->relation_count, sizeof *catalog->relations, compare_relations);
  for (size_t i = 0; i < catalog->relation_count; i++) {
    ldx_relation *relation = catalog->relations[i];
    relation->ordinal = i;
    relation->live = relation->live_count ? LDX_ARENA_NEW(catalog->arena, ldx_live *, relation->live_count) : NULL;
    relation->live_count = 0;
  }
  /* From the back, so that each list of partitions comes out in order of name. */
  for (size_t i = catalog->relation_count; i-- > 0;) {
    ldx_relation *relation = catalog->relations[i];
    if (relation->parent) {
      relation->next_partition = relation->parent->first_partition;
      relation->parent->first_partition = relation;
    }
  }
  for (size_t i = 0; i < catalog->live_count; i++) {
    ldx_live *live = catalog->live[i];
    live->ordinal = i;
    if (ldx_fingerprint_equal(live->fingerprint, none))
      live->fingerprint = ldx_definition_fingerprint(live->definition);
    live->relation->live[live->relation->live_count++] = live;
  }
  for (size_t i = 0; i < catalog->relation_count; i++) {
    ldx_relation *relation = catalog->relations[i];
    if (relation->live_count > 1) qsort(relation->live, relation->live_count, sizeof *relation->live, compare_live);
  }
  table_size(&catalog->relations_by_name, catalog->relation_count);
  for (size_t i = 0; i < catalog->relation_count; i++)
    table_put(&catalog->relations_by_name, hash_name(catalog->relations[i]->name), catalog->relations[i]);
  table_size(&catalog->live_by_name, catalog->live_count);
  for (size_t i = 0; i < catalog->live_count; i++) {
    ldx_live *live = catalog->live[i];
    /* Foreign keys have no index, and their names are only unique within their relation. */
    if (live->definition->kind != LDX_KIND_FOREIGN_KEY)
      table_put(&catalog->live_by_name, hash_name((ldx_name){live->relation->space, live->name}), live);
  }
}

ldx_relation *ldx_catalog_add_absent(ldx_catalog *catalog, ldx_name name) {
  ldx_relation *relation = ldx_catalog_add_relation(catalog, name, 0);
  relation->kind = '-';
  relation->rows = relation->bytes = 0;
  table *by_name = &catalog->relations_by_name;
  if (catalog->relation_count * 2 > by_name->mask) {
    table_size(by_name, catalog->relation_count * 2);
    for (size_t i = 0; i < catalog->relation_count; i++)
      table_put(by_name, hash_name(catalog->relations[i]->name), catalog->relations[i]);
  } else {
    table_put(by_name, hash_name(name), relation);
  }
  return relation;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

ldx_relation *ldx_catalog_relation_by_id(const ldx_catalog *catalog, uint32_t id) {
  return table_find(&catalog->relations_by_id, hash_id(id), &id, relation_has_id);
}

ldx_live *ldx_catalog_live_by_id(const ldx_catalog *catalog, uint32_t id) {
  return table_find(&catalog->live_by_id, hash_id(id), &id, live_has_id);
}

size_t ldx_catalog_relation_count(const ldx_catalog *catalog) {
  return catalog->relation_count;
}

ldx_relation *ldx_catalog_relation_at(const ldx_catalog *catalog, size_t i) {
  return catalog->relations[i];
}

ldx_live *ldx_catalog_live_at(const ldx_catalog *catalog, size_t i) {
  return catalog->live[i];
}

size_t ldx_catalog_live_count(const ldx_catalog *catalog) {
  return catalog->live_count;
}

/* Names with a schema as they are, others in each schema of the search path; a database without schemas has none. */
static void *find_named(const ldx_catalog *catalog, const table *t, ldx_name name, table_equal equal) {
  if (name.schema || catalog->search_path.count == 0) return table_find(t, hash_name(name), &name, equal);
  for (size_t i = 0; i < catalog->search_path.count; i++) {
    ldx_name qualified = {catalog->search_path.items[i], name.name};
    void *found = table_find(t, hash_name(qualified), &qualified, equal);
    if (found) return found;
  }
  return NULL;
}

ldx_relation *ldx_catalog_relation(const ldx_catalog *catalog, ldx_name name) {
  return find_named(catalog, &catalog->relations_by_name, name, relation_has_name);
}

ldx_live *ldx_catalog_live(const ldx_catalog *catalog, ldx_name name) {
  return find_named(catalog, &catalog->live_by_name, name, live_has_name);
}

const ldx_wording *ldx_dialect_wording(const ldx_dialect *dialect) {
  static const ldx_wording sql = {
      .text = ldx_definition_text,
      .predicate = "predicate",
      .with_predicate = "has WHERE",
      .without_predicate = "has no WHERE",
      .storage = "storage options",
  };
  return dialect && dialect->wording ? dialect->wording : &sql;
}

const ldx_dialect *ldx_catalog_dialect(const ldx_catalog *catalog) {
  return catalog->dialect;
}

const ldx_strings *ldx_catalog_tablespaces(const ldx_catalog *catalog) {
  return &catalog->tablespaces;
}

ldx_relation *ldx_relation_family(ldx_relation *relation) {
  while (relation->family) relation = relation->family;
  return relation;
}

const ldx_column *ldx_relation_column(const ldx_relation *relation, const char *name) {
  for (size_t i = 0; i < relation->column_count; i++)
    if (strcmp(relation->columns[i].name, name) == 0) return &relation->columns[i];
  return NULL;
}
