#include "read.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "postgres_sql.h"
#include "render.h"
#include "text.h"

enum {
  OPTION_DESCENDING = 1, /* INDOPTION_DESC */
  OPTION_NULLS_FIRST = 2,
  MAX_KEYS = 32, /* INDEX_MAX_KEYS as every distribution builds it; columns of an index beyond are not read */
  DEFAULT_COLLATION = 100,
};

/* The columns of a relation by attribute number. */
typedef struct attributes {
  ldx_column **by_number;
  size_t count;
} attributes;

typedef struct opclass_options {
  uint32_t index;
  size_t number;
  ldx_options options;
  struct opclass_options *next;
} opclass_options;

enum { OPTION_BUCKETS = 256 }; /* few indexes have any, of a catalog of thousands */

struct ldx_pg_reader {
  ldx_catalog *catalog;
  ldx_arena *arena;
  ldx_pg_dictionary *dictionary;
  int version;
  double block_size;
  attributes *attributes; /* by the relation's ordinal of the moment */
  size_t room;
  opclass_options *options[OPTION_BUCKETS]; /* by the index's number */
};

ldx_pg_reader *ldx_pg_reader_new(ldx_catalog *catalog, int version) {
  ldx_arena *arena = ldx_catalog_arena(catalog);
  ldx_pg_reader *reader = LDX_ARENA_NEW(arena, ldx_pg_reader, 1);
  reader->catalog = catalog;
  reader->arena = arena;
  reader->dictionary = ldx_pg_dictionary_new(arena);
  reader->version = version;
  reader->block_size = 8192;
  return reader;
}

void ldx_pg_reader_set_block_size(ldx_pg_reader *reader, double bytes) {
  reader->block_size = bytes;
}

ldx_pg_dictionary *ldx_pg_reader_dictionary(ldx_pg_reader *reader) {
  return reader->dictionary;
}

ldx_catalog *ldx_pg_reader_catalog(ldx_pg_reader *reader) {
  return reader->catalog;
}

ldx_arena *ldx_pg_reader_arena(ldx_pg_reader *reader) {
  return reader->arena;
}

/* --- relations ---------------------------------------------------------------------------------------------------- */

ldx_relation *ldx_pg_reader_relation(ldx_pg_reader *reader, ldx_name name, uint32_t id, size_t numbers) {
  ldx_name kept = {ldx_arena_strdup(reader->arena, name.schema), ldx_arena_strdup(reader->arena, name.name)};
  ldx_relation *relation = ldx_catalog_add_relation(reader->catalog, kept, id);
  relation->display = ldx_pg_display_name(reader->arena, kept);
  if (relation->ordinal >= reader->room) {
    size_t room = reader->room ? reader->room * 2 : 256;
    attributes *grown = LDX_ARENA_NEW(reader->arena, attributes, room);
    if (reader->room) memcpy(grown, reader->attributes, reader->room * sizeof *grown);
    reader->attributes = grown;
    reader->room = room;
  }
  attributes *own = &reader->attributes[relation->ordinal];
  own->count = numbers;
  own->by_number = LDX_ARENA_NEW(reader->arena, ldx_column *, numbers);
  relation->columns = LDX_ARENA_NEW(reader->arena, ldx_column, numbers);
  return relation;
}

ldx_column *ldx_pg_reader_column(ldx_pg_reader *reader, ldx_relation *relation, size_t attribute, const char *name) {
  attributes *own = &reader->attributes[relation->ordinal];
  if (attribute < 1 || attribute > own->count || relation->column_count == own->count) return NULL;
  /* They come in the order of pg_attribute's rows, which is another one once a column was altered. */
  size_t place = relation->column_count;
  for (size_t i = attribute; i < own->count; i++)
    if (own->by_number[i]) {
      own->by_number[i]++;
      place--;
    }
  ldx_column *column = &relation->columns[place];
  memmove(column + 1, column, (relation->column_count++ - place) * sizeof *column);
  *column = (ldx_column){0};
  column->name = ldx_arena_strdup(reader->arena, name);
  own->by_number[attribute - 1] = column;
  return column;
}

void ldx_pg_read_column(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  if (fields[6]) {
    ldx_pg_reader_opclass_options(reader, ldx_pg_number(fields[0]), ldx_pg_number(fields[1]), fields[6]);
    return;
  }
  ldx_relation *relation = ldx_catalog_relation_by_id(reader->catalog, ldx_pg_number(fields[0]));
  ldx_column *column = relation ? ldx_pg_reader_column(reader, relation, ldx_pg_number(fields[1]), fields[2]) : NULL;
  if (!column) return;
  column->type = ldx_pg_number(fields[3]);
  column->collation = ldx_pg_number(fields[4]);
  column->not_null = ldx_pg_true(fields[5]);
  column->base = ldx_pg_base_type(reader->dictionary, column->type, &column->never_null);
  column->never_null = column->never_null || column->not_null;
  if (column->collation != 0 && column->collation != DEFAULT_COLLATION) relation->odd_collation = true;
}

const ldx_column *ldx_pg_reader_attribute(const ldx_pg_reader *reader, const ldx_relation *relation,
                                          long long attribute) {
  const attributes *own = &reader->attributes[relation->ordinal];
  return attribute >= 1 && (size_t)attribute <= own->count ? own->by_number[attribute - 1] : NULL;
}

/* --- indexes ------------------------------------------------------------------------------------------------------ */

const char *ldx_pg_reader_index_sql(ldx_pg_reader *reader) {
  static const char newer[] = "i.indnullsnotdistinct";
  if (reader->version >= 150000) return ldx_sql_indexes;
  const char *found = strstr(strstr(ldx_sql_indexes, "\nselect"), newer);
  return ldx_arena_printf(reader->arena, "%.*sfalse%s", (int)(found - ldx_sql_indexes), ldx_sql_indexes,
                          found + strlen(newer));
}

static ldx_options read_options(ldx_arena *arena, const char *text) {
  ldx_strings items = ldx_pg_array(arena, text);
  ldx_options options = {items.count, items.count ? LDX_ARENA_NEW(arena, ldx_option, items.count) : NULL};
  for (size_t i = 0; i < items.count; i++) {
    const char *equals = strchr(items.items[i], '=');
    size_t length = equals ? (size_t)(equals - items.items[i]) : strlen(items.items[i]);
    options.items[i].name = ldx_arena_strndup(arena, items.items[i], length);
    options.items[i].value = equals ? equals + 1 : "";
  }
  return options;
}

/* The numbers of one index, as pg_index has them. */
typedef struct raw_index {
  uint32_t method;
  size_t keys, attributes;
  long long key[MAX_KEYS], opclass[MAX_KEYS], collation[MAX_KEYS], option[MAX_KEYS], expression_type[MAX_KEYS];
  ldx_strings expressions;
} raw_index;

/* A collation is named where it is not the one the key has by itself. Of an expression the catalog does not tell which
 * that is; the database's own cannot be wrong where no column of the relation has another. */
static const char *key_collation(ldx_pg_reader *reader, const ldx_relation *relation, const ldx_column *column,
                                 uint32_t collation) {
  if (collation == 0) return NULL;
  if (column ? column->collation == collation : collation == DEFAULT_COLLATION && !relation->odd_collation) return NULL;
  return ldx_pg_collation_name(reader->dictionary, collation);
}

void ldx_pg_reader_opclass_options(ldx_pg_reader *reader, uint32_t index, size_t attribute, const char *options) {
  opclass_options *entry = LDX_ARENA_NEW(reader->arena, opclass_options, 1);
  opclass_options **bucket = &reader->options[index % OPTION_BUCKETS];
  *entry = (opclass_options){index, attribute, read_options(reader->arena, options), *bucket};
  *bucket = entry;
}

static ldx_options options_of(const ldx_pg_reader *reader, uint32_t index, size_t attribute) {
  for (const opclass_options *entry = reader->options[index % OPTION_BUCKETS]; entry; entry = entry->next)
    if (entry->index == index && entry->number == attribute) return entry->options;
  return (ldx_options){0, NULL};
}

static void read_keys(ldx_pg_reader *reader, ldx_live *live, const raw_index *raw) {
  ldx_definition *definition = live->definition;
  definition->key_count = raw->keys;
  definition->keys = LDX_ARENA_NEW(reader->arena, ldx_key, raw->keys);
  size_t expression = 0;
  for (size_t i = 0; i < raw->keys; i++) {
    ldx_key *key = &definition->keys[i];
    const ldx_column *column = ldx_pg_reader_attribute(reader, live->relation, raw->key[i]);
    uint32_t type = 0;
    if (column) {
      key->column = column->name;
      type = column->type;
    } else if (raw->key[i] == 0 && expression < raw->expressions.count) {
      key->expression = ldx_pg_strip_parentheses(reader->arena, raw->expressions.items[expression]);
      type = (uint32_t)raw->expression_type[expression++];
    } else {
      key->column = "?"; /* a system column */
    }
    key->opclass_options = options_of(reader, live->id, i + 1);
    key->collation = key_collation(reader, live->relation, column, (uint32_t)raw->collation[i]);
    /* Parameters can only be written behind a name. */
    if (key->opclass_options.count > 0 ||
        !ldx_pg_opclass_is_default(reader->dictionary, raw->method, (uint32_t)raw->opclass[i], type))
      key->opclass = ldx_pg_opclass_name(reader->dictionary, (uint32_t)raw->opclass[i]);
    key->descending = raw->option[i] & OPTION_DESCENDING;
    key->nulls_first = raw->option[i] & OPTION_NULLS_FIRST;
  }
  size_t included = raw->attributes > raw->keys ? raw->attributes - raw->keys : 0;
  definition->include.count = included;
  definition->include.items = included ? LDX_ARENA_NEW(reader->arena, const char *, included) : NULL;
  for (size_t i = 0; i < included; i++) {
    const ldx_column *column = ldx_pg_reader_attribute(reader, live->relation, raw->key[raw->keys + i]);
    definition->include.items[i] = column ? column->name : "?";
  }
}

void ldx_pg_read_index(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  ldx_relation *relation = ldx_catalog_relation_by_id(reader->catalog, ldx_pg_number(fields[1]));
  if (!relation) return; /* of a system relation */
  ldx_live *live = ldx_catalog_add_live(reader->catalog, relation, ldx_arena_strdup(reader->arena, fields[2]),
                                        ldx_pg_number(fields[0]), LDX_ARENA_NEW(reader->arena, ldx_definition, 1));
  live->partitioned = *fields[3] == 'I';
  live->bytes = atof(fields[5]) * reader->block_size;
  live->valid = ldx_pg_true(fields[15]);
  live->ready = ldx_pg_true(fields[16]);
  live->live = ldx_pg_true(fields[17]);
  live->replica_identity = ldx_pg_true(fields[18]);
  live->clustered = ldx_pg_true(fields[19]);

  ldx_definition *definition = live->definition;
  raw_index raw = {.method = ldx_pg_number(fields[4])};
  definition->kind = LDX_KIND_INDEX;
  definition->relation = relation->name;
  definition->method = ldx_pg_method_name(reader->dictionary, raw.method);
  if (ldx_pg_number(fields[6]) != 0)
    definition->tablespace = ldx_pg_tablespace_name(reader->dictionary, ldx_pg_number(fields[6]));
  if (fields[7]) definition->storage = read_options(reader->arena, fields[7]);
  raw.attributes = ldx_pg_numbers(fields[9], raw.key, MAX_KEYS);
  raw.keys = ldx_pg_number(fields[8]);
  if (raw.attributes > MAX_KEYS) raw.attributes = MAX_KEYS;
  if (raw.keys > raw.attributes) raw.keys = raw.attributes;
  ldx_pg_numbers(fields[10], raw.opclass, MAX_KEYS);
  ldx_pg_numbers(fields[11], raw.collation, MAX_KEYS);
  ldx_pg_numbers(fields[12], raw.option, MAX_KEYS);
  definition->unique = ldx_pg_true(fields[13]);
  definition->nulls_not_distinct = ldx_pg_true(fields[14]);
  if (fields[20]) {
    definition->predicate = ldx_pg_strip_parentheses(reader->arena, ldx_arena_strdup(reader->arena, fields[20]));
    definition->predicate_form = ldx_pg_flat_chains(reader->arena, definition->predicate);
  }
  raw.expressions = ldx_pg_array(reader->arena, fields[21]);
  ldx_pg_numbers(fields[22], raw.expression_type, MAX_KEYS);
  read_keys(reader, live, &raw);
}
