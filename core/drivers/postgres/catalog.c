#include "catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "patience.h"
#include "postgres_sql.h"
#include "read.h"

/* A partition waits for its parent, which may come later. */
typedef struct partition {
  ldx_relation *relation;
  uint32_t parent;
  struct partition *next;
} partition;

typedef struct work {
  ldx_catalog *catalog;
  ldx_arena *arena;
  ldx_pg_reader *reader;
  partition *partitions;
  double block_size;
} work;

static void ignore(void *state, char **fields) {
  (void)state;
  (void)fields;
}

static void read_session(void *state, char **fields) {
  work *w = state;
  w->block_size = atof(fields[0]);
  ldx_pg_reader_set_block_size(w->reader, w->block_size);
  ldx_catalog_set_search_path(w->catalog, ldx_pg_array(w->arena, fields[1]));
}

static void read_relation(void *state, char **fields) {
  work *w = state;
  ldx_relation *relation = ldx_pg_reader_relation(w->reader, (ldx_name){fields[1], fields[2]}, ldx_pg_number(fields[0]),
                                                  ldx_pg_number(fields[4]));
  relation->kind = *fields[3];
  relation->rows = atof(fields[5]);
  relation->bytes = atof(fields[6]) * w->block_size;
  if (fields[7]) {
    relation->partition = true;
    partition *entry = LDX_ARENA_NEW(w->arena, partition, 1);
    *entry = (partition){relation, ldx_pg_number(fields[7]), w->partitions};
    w->partitions = entry;
  }
}

static void read_inheritance(void *state, char **fields) {
  work *w = state;
  ldx_relation *child = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[0]));
  ldx_relation *parent = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[1]));
  if (!child || !parent) return;
  child = ldx_relation_family(child), parent = ldx_relation_family(parent);
  if (child != parent) child->family = parent;
}

/* To the server it is none any more: no index needs a part of it, and none is taken. */
static void read_detaching(void *state, char **fields) {
  work *w = state;
  ldx_relation *relation = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[0]));
  if (relation) relation->partition = false;
}

static void read_null_check(void *state, char **fields) {
  work *w = state;
  ldx_relation *relation = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[0]));
  if (relation) relation->null_check = ldx_pg_number(fields[1]);
}

static void read_lone_not_null(void *state, char **fields) {
  work *w = state;
  ldx_relation *relation = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[0]));
  ldx_relation *holder = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[3]));
  if (!relation || !holder) return;
  ldx_lone_not_null *lone = LDX_ARENA_NEW(w->arena, ldx_lone_not_null, 1);
  *lone = (ldx_lone_not_null){ldx_arena_strdup(w->arena, fields[2]), holder};
  for (size_t i = 0; i < relation->column_count; i++)
    if (strcmp(relation->columns[i].name, fields[1]) == 0) relation->columns[i].lone = lone;
}

static void read_unproven_not_null(void *state, char **fields) {
  work *w = state;
  ldx_relation *relation = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[0]));
  for (size_t i = 0; relation && i < relation->column_count; i++) {
    ldx_column *column = &relation->columns[i];
    if (strcmp(column->name, fields[1]) == 0)
      ldx_pg_base_type(ldx_pg_reader_dictionary(w->reader), column->type, &column->never_null);
  }
}

static void read_index_parent(void *state, char **fields) {
  work *w = state;
  ldx_live *child = ldx_catalog_live_by_id(w->catalog, ldx_pg_number(fields[0]));
  if (!child) return;
  child->parent = ldx_catalog_live_by_id(w->catalog, ldx_pg_number(fields[1]));
  child->inherited = true;
}

static void read_extension_member(void *state, char **fields) {
  work *w = state;
  ldx_relation *relation = ldx_catalog_relation_by_id(w->catalog, ldx_pg_number(fields[0]));
  ldx_live *live = ldx_catalog_live_by_id(w->catalog, ldx_pg_number(fields[0]));
  if (relation) relation->extension_owned = true;
  if (live) live->extension_owned = true;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

/* With `oid` only that relation and those its foreign keys reference. What belongs to the whole is left out then: whose
 * part an index is, and what extensions own. */
static bool read_all(work *w, ldx_session *session, const char *oid, ldx_error *error) {
  int version = ldx_pg_version(session);
  const char *these = NULL, *of_relations = NULL, *of_columns = NULL, *of_indexes = NULL, *of_constraints = NULL;
  if (oid) {
    these = ldx_arena_printf(w->arena,
                             "(select %s union all select k.confrelid from pg_catalog.pg_constraint k"
                             " where k.conrelid = %s and k.contype = 'f')",
                             oid, oid);
    of_relations = ldx_arena_printf(w->arena, " and c.oid in %s", these);
    of_columns = ldx_arena_printf(
        w->arena,
        " and (c.oid in %s or c.oid in (select x.indexrelid from pg_catalog.pg_index x where x.indrelid in %s))", these,
        these);
    of_indexes = ldx_arena_printf(w->arena, " where i.indrelid in %s", these);
    of_constraints = ldx_arena_printf(w->arena, " and con.conrelid in %s", these);
  }
  ldx_pg_copy queries[LDX_PG_DICTIONARY_QUERIES + 16];
  size_t count = 0;
  ldx_pg_dictionary_queries(ldx_pg_reader_dictionary(w->reader), queries);
  count += LDX_PG_DICTIONARY_QUERIES;
#define ADD(text, restriction, number_of_columns, reader, its_state)                                                   \
  (queries[count++] = (ldx_pg_copy){.sql = (text),                                                                     \
                                    .filter = (restriction),                                                           \
                                    .columns = (number_of_columns),                                                    \
                                    .read = (reader),                                                                  \
                                    .state = (its_state)})
  ADD(ldx_sql_session, NULL, 2, read_session, w);
  /* From here on the server qualifies whatever is not its own in the texts it prints. */
  ADD("select pg_catalog.set_config('search_path', '', true)", NULL, 1, ignore, w);
  ADD(ldx_sql_relations, of_relations, 8, read_relation, w);
  ADD(oid ? NULL : ldx_sql_inheritance, NULL, 2, read_inheritance, w);
  if (version >= 140000) ADD(oid ? NULL : ldx_sql_detaching, NULL, 1, read_detaching, w);
  ADD(oid ? NULL : ldx_sql_null_checks, NULL, 2, read_null_check, w);
  ADD(ldx_sql_columns, of_columns, LDX_PG_COLUMN_COLUMNS, ldx_pg_read_column, w->reader);
  if (version >= 180000) ADD(oid ? NULL : ldx_sql_lone_not_nulls_18, NULL, 4, read_lone_not_null, w);
  if (version >= 180000) ADD(ldx_sql_unproven_not_nulls_18, of_constraints, 2, read_unproven_not_null, w);
  ADD(ldx_pg_reader_index_sql(w->reader), of_indexes, LDX_PG_INDEX_COLUMNS, ldx_pg_read_index, w->reader);
  ADD(oid ? NULL : ldx_sql_index_parents, NULL, 2, read_index_parent, w);
  ADD(ldx_sql_constraints, of_constraints, LDX_PG_CONSTRAINT_COLUMNS, ldx_pg_read_constraint, w->reader);
  if (version >= 150000) ADD(ldx_sql_foreign_keys_15, of_constraints, 2, ldx_pg_read_delete_columns, w->reader);
  if (version >= 180000) ADD(ldx_sql_constraints_18, of_constraints, 3, ldx_pg_read_newer_constraint, w->reader);
  ADD(oid ? NULL : ldx_sql_key_dependents, NULL, 2, ldx_pg_read_key_dependents, w->reader);
  ADD(oid ? NULL : ldx_sql_extension_members, NULL, 1, read_extension_member, w);
#undef ADD
  /* The server would compile these queries for longer than they run. */
  static const char begin[] =
      "begin isolation level repeatable read read only; " LDX_PG_READ_SLICE "set local jit = off;\n";
  return ldx_pg_copy_all(session, begin, queries, count, "commit", error);
}

/* A partitioned index has no storage to alter, and moving an index between tablespaces locks it for the copy. */
static bool can_alter(const ldx_definition *declared, const ldx_live *live) {
  const char *there = live->definition->tablespace;
  bool moves = declared->tablespace && (!there || strcmp(declared->tablespace, there) != 0);
  return !moves && !live->partitioned;
}

const ldx_dialect ldx_pg_dialect = {.name = "postgres", .can_alter = can_alter};

static ldx_catalog *read_catalog(ldx_session *session, const char *oid, ldx_error *error) {
  ldx_catalog *catalog = ldx_catalog_new(&ldx_pg_dialect);
  work w = {.catalog = catalog, .arena = ldx_catalog_arena(catalog), .block_size = 8192};
  w.reader = ldx_pg_reader_new(catalog, ldx_pg_version(session));
  if (!read_all(&w, session, oid, error)) {
    ldx_pg_rollback(session);
    ldx_catalog_release(catalog);
    return NULL;
  }
  for (partition *entry = w.partitions; entry; entry = entry->next) {
    ldx_relation *parent = ldx_catalog_relation_by_id(catalog, entry->parent);
    if (entry->relation->partition)
      entry->relation->parent = parent;
    else
      entry->relation->detaching = parent;
  }
  ldx_catalog_set_tablespaces(catalog, ldx_pg_tablespace_names(ldx_pg_reader_dictionary(w.reader), w.arena));
  ldx_catalog_finish(catalog);
  return catalog;
}

/* The texts of expressions and predicates are only to be had with a lock on their table, be it declared or not. */
static ldx_catalog *read_patiently(ldx_session *session, ldx_context *context, const char *oid, ldx_error *error) {
  ldx_pg_patience patience = ldx_pg_patience_new(session, context);
  char relations[32]; /* a number in an array's braces */
  if (oid) snprintf(relations, sizeof relations, "{%s}", oid);
  ldx_catalog *catalog;
  do catalog = read_catalog(session, oid, error);
  while (!catalog && ldx_pg_patience_left(&patience, oid ? relations : NULL, error));
  return catalog;
}

ldx_catalog *ldx_pg_catalog(ldx_session *session, ldx_context *context, ldx_error *error) {
  return read_patiently(session, context, NULL, error);
}

ldx_catalog *ldx_pg_catalog_around(ldx_session *session, ldx_context *context, const char *oid, ldx_error *error) {
  return read_patiently(session, context, oid, error);
}
