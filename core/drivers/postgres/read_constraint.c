/* Constraints: what pg_constraint adds to the index it owns, and foreign keys, which have none. */
#include <stdlib.h>

#include "read.h"

enum { MAX_COLUMNS = 32 }; /* INDEX_MAX_KEYS */

/* The names of the columns with these numbers. */
static ldx_strings column_names(ldx_pg_reader *reader, const ldx_relation *relation, const char *numbers) {
  ldx_arena *arena = ldx_pg_reader_arena(reader);
  long long attributes[MAX_COLUMNS];
  size_t count = ldx_pg_numbers(numbers, attributes, MAX_COLUMNS);
  if (count > MAX_COLUMNS) count = MAX_COLUMNS;
  ldx_strings names = {count, LDX_ARENA_NEW(arena, const char *, count)};
  for (size_t i = 0; i < count; i++) {
    const ldx_column *column = ldx_pg_reader_attribute(reader, relation, attributes[i]);
    names.items[i] = column ? column->name : "?";
  }
  return names;
}

static const char *referential_action(char action) {
  switch (action) {
  case 'r':
    return "restrict";
  case 'c':
    return "cascade";
  case 'n':
    return "set null";
  case 'd':
    return "set default";
  default:
    return "no action";
  }
}

static void read_foreign_key(ldx_pg_reader *reader, char **fields) {
  ldx_catalog *catalog = ldx_pg_reader_catalog(reader);
  ldx_arena *arena = ldx_pg_reader_arena(reader);
  ldx_relation *relation = ldx_catalog_relation_by_id(catalog, ldx_pg_number(fields[3]));
  ldx_relation *references = ldx_catalog_relation_by_id(catalog, ldx_pg_number(fields[10]));
  /* The unique index on the other side cannot be dropped, though no constraint there owns it. */
  ldx_live *index = ldx_catalog_live_by_id(catalog, ldx_pg_number(fields[4]));
  if (index) index->referenced = true;
  if (!relation || !references) return;
  ldx_live *live = ldx_catalog_add_live(catalog, relation, ldx_arena_strdup(arena, fields[2]), 0,
                                        LDX_ARENA_NEW(arena, ldx_definition, 1));
  ldx_strings columns = column_names(reader, relation, fields[9]);
  ldx_definition *definition = live->definition;
  live->constraint_id = ldx_pg_number(fields[0]);
  live->valid = ldx_pg_true(fields[7]);
  live->ready = live->live = true;
  live->inherited = ldx_pg_true(fields[8]);
  definition->kind = LDX_KIND_FOREIGN_KEY;
  definition->relation = relation->name;
  definition->key_count = columns.count;
  definition->keys = LDX_ARENA_NEW(arena, ldx_key, columns.count);
  for (size_t i = 0; i < columns.count; i++) definition->keys[i].column = columns.items[i];
  definition->references = references->name;
  definition->references_columns = column_names(reader, references, fields[11]);
  definition->on_update = referential_action(*fields[12]);
  definition->on_delete = referential_action(*fields[13]);
  definition->match = *fields[14] == 'f' ? "full" : "simple";
  definition->deferrable = ldx_pg_true(fields[5]);
  definition->initially_deferred = ldx_pg_true(fields[6]);
}

void ldx_pg_read_constraint(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  if (*fields[1] == 'f') {
    read_foreign_key(reader, fields);
    return;
  }
  ldx_live *live = ldx_catalog_live_by_id(ldx_pg_reader_catalog(reader), ldx_pg_number(fields[4]));
  if (!live) return;
  ldx_definition *definition = live->definition;
  live->constraint_id = ldx_pg_number(fields[0]);
  live->inherited = live->inherited || ldx_pg_true(fields[8]);
  definition->kind = *fields[1] == 'p'   ? LDX_KIND_PRIMARY_KEY
                     : *fields[1] == 'u' ? LDX_KIND_UNIQUE
                                         : LDX_KIND_EXCLUSION;
  definition->deferrable = ldx_pg_true(fields[5]);
  definition->initially_deferred = ldx_pg_true(fields[6]);
  ldx_strings operators = ldx_pg_array(ldx_pg_reader_arena(reader), fields[15]);
  for (size_t i = 0; i < operators.count && i < definition->key_count; i++)
    definition->keys[i].operator= operators.items[i];
}

static ldx_live *constraint_by_id(ldx_pg_reader *reader, uint32_t id) {
  ldx_catalog *catalog = ldx_pg_reader_catalog(reader);
  for (size_t i = 0; i < ldx_catalog_live_count(catalog); i++) {
    ldx_live *live = ldx_catalog_live_at(catalog, i);
    if (live->constraint_id == id) return live;
  }
  return NULL;
}

void ldx_pg_read_delete_columns(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  ldx_live *live = constraint_by_id(reader, ldx_pg_number(fields[0]));
  if (live) live->definition->on_delete_columns = column_names(reader, live->relation, fields[1]);
}

void ldx_pg_read_newer_constraint(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  ldx_live *live = constraint_by_id(reader, ldx_pg_number(fields[0]));
  if (!live) return;
  live->definition->without_overlaps = ldx_pg_true(fields[1]);
  live->definition->not_enforced = ldx_pg_true(fields[2]);
  /* WITHOUT OVERLAPS is kept as an exclusion; its operators follow from it. */
  if (live->definition->without_overlaps)
    for (size_t i = 0; i < live->definition->key_count; i++) live->definition->keys[i].operator= NULL;
}

void ldx_pg_read_key_dependents(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  ldx_live *live = constraint_by_id(reader, ldx_pg_number(fields[0]));
  if (live) live->dependents = ldx_arena_strdup(ldx_pg_reader_arena(reader), fields[1]);
}
