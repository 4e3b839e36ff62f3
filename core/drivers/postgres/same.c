/* DESIGN
 *
 * A name says nothing: what has it may be the work of an attempt whose answer was lost, or somebody else's. So the one
 * relation is read as the catalog reads all of them, the step's definition is brought into canonical form as the plan
 * does it, and the fingerprints decide. This costs a round trip or two, but only where the name is taken.
 */
#include "same.h"

#include <string.h>

#include "canonical.h"
#include "postgres_sql.h"
#include "read.h"
#include "shadow.h"

static void ignore(void *state, char **fields) {
  (void)state;
  (void)fields;
}

static void read_search_path(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  ldx_catalog_set_search_path(ldx_pg_reader_catalog(reader), ldx_pg_array(ldx_pg_reader_arena(reader), fields[1]));
}

static void read_relation(void *state, char **fields) {
  ldx_relation *relation = ldx_pg_reader_relation(state, (ldx_name){fields[1], fields[2]}, ldx_pg_number(fields[0]),
                                                  ldx_pg_number(fields[4]));
  relation->kind = *fields[3];
}

/* The relation and those its foreign keys reference, with their indexes and keys. */
static ldx_catalog *read_around(ldx_pg_attempt *attempt, const char *oid) {
  static const char begin[] = "begin isolation level repeatable read read only; set local lock_timeout = '10s'; "
                              "set local jit = off;\n";
  ldx_arena *arena = attempt->arena;
  int version = ldx_pg_version(attempt->session);
  ldx_catalog *catalog = ldx_catalog_new();
  ldx_pg_reader *reader = ldx_pg_reader_new(catalog, version);
  const char *these = ldx_arena_printf(arena,
                                       "(select %s union all select k.confrelid from pg_catalog.pg_constraint k"
                                       " where k.conrelid = %s and k.contype = 'f')",
                                       oid, oid);
  const char *constraints = ldx_arena_printf(arena, " and con.conrelid in %s", these);
  ldx_pg_copy queries[LDX_PG_DICTIONARY_QUERIES + 8];
  size_t count = LDX_PG_DICTIONARY_QUERIES;
  ldx_pg_dictionary_queries(ldx_pg_reader_dictionary(reader), queries);
  queries[count++] = (ldx_pg_copy){.sql = ldx_sql_session, .columns = 2, .read = read_search_path, .state = reader};
  queries[count++] =
      (ldx_pg_copy){.sql = "select pg_catalog.set_config('search_path', '', true)", .columns = 1, .read = ignore};
  queries[count++] = (ldx_pg_copy){.sql = ldx_sql_relations,
                                   .filter = ldx_arena_printf(arena, " and c.oid in %s", these),
                                   .columns = 8,
                                   .read = read_relation,
                                   .state = reader};
  queries[count++] = (ldx_pg_copy){
      .sql = ldx_sql_columns,
      .filter = ldx_arena_printf(
          arena,
          " and (c.oid in %s or c.oid in (select x.indexrelid from pg_catalog.pg_index x where x.indrelid in %s))",
          these, these),
      .columns = LDX_PG_COLUMN_COLUMNS,
      .read = ldx_pg_read_column,
      .state = reader};
  queries[count++] = (ldx_pg_copy){.sql = ldx_pg_reader_index_sql(reader),
                                   .filter = ldx_arena_printf(arena, " where i.indrelid in %s", these),
                                   .columns = LDX_PG_INDEX_COLUMNS,
                                   .read = ldx_pg_read_index,
                                   .state = reader};
  queries[count++] = (ldx_pg_copy){.sql = ldx_sql_constraints,
                                   .filter = constraints,
                                   .columns = LDX_PG_CONSTRAINT_COLUMNS,
                                   .read = ldx_pg_read_constraint,
                                   .state = reader};
  queries[count++] = (ldx_pg_copy){.sql = version >= 150000 ? ldx_sql_foreign_keys_15 : NULL,
                                   .filter = constraints,
                                   .columns = 2,
                                   .read = ldx_pg_read_delete_columns,
                                   .state = reader};
  queries[count++] = (ldx_pg_copy){.sql = version >= 180000 ? ldx_sql_constraints_18 : NULL,
                                   .filter = constraints,
                                   .columns = 3,
                                   .read = ldx_pg_read_newer_constraint,
                                   .state = reader};
  if (!ldx_pg_copy_all(attempt->session, begin, queries, count, "commit", attempt->error)) {
    ldx_pg_rollback(attempt->session);
    ldx_catalog_release(catalog);
    return NULL;
  }
  ldx_catalog_finish(catalog);
  return catalog;
}

static const ldx_live *named(const ldx_relation *relation, const char *name, ldx_pg_as as) {
  for (size_t i = 0; i < relation->live_count; i++) {
    const ldx_live *live = relation->live[i];
    bool fits = as == LDX_PG_AS_INDEX ? live->id != 0 : live->constraint_id != 0;
    if (fits && strcmp(live->name, name) == 0) return live;
  }
  return NULL;
}

/* A unique index that became a constraint meanwhile does what it did before, as the diff has it. */
static bool does_the_work(const ldx_definition *wanted, const ldx_definition *live) {
  bool key = live->kind == LDX_KIND_UNIQUE || live->kind == LDX_KIND_PRIMARY_KEY;
  return key && wanted->kind == LDX_KIND_INDEX && !live->deferrable && !live->without_overlaps &&
         ldx_fingerprint_equal(ldx_definition_index_fingerprint(live), ldx_definition_fingerprint(wanted));
}

static bool equal(const ldx_definition *wanted, const ldx_definition *live, ldx_pg_as as) {
  if (as == LDX_PG_AS_CONSTRAINT)
    return ldx_fingerprint_equal(ldx_definition_fingerprint(wanted), ldx_definition_fingerprint(live));
  bool key = wanted->kind != LDX_KIND_INDEX;
  ldx_fingerprint fingerprint = key ? ldx_definition_index_fingerprint(wanted) : ldx_definition_fingerprint(wanted);
  return ldx_fingerprint_equal(fingerprint, ldx_definition_fingerprint(live)) || does_the_work(wanted, live);
}

/* Without the texts of which only the server could say whether they mean the same. */
static ldx_definition without_texts(ldx_arena *arena, const ldx_definition *definition) {
  ldx_definition plain;
  ldx_definition_copy(arena, &plain, definition);
  for (size_t i = 0; i < plain.key_count; i++)
    if (plain.keys[i].expression) plain.keys[i].expression = "";
  if (plain.predicate) plain.predicate = "";
  plain.predicate_form = NULL;
  return plain;
}

static bool compare_with(ldx_pg_attempt *attempt, ldx_declared *declared, const ldx_definition *live, ldx_pg_as as,
                         bool *same) {
  const ldx_definition *canonical = &declared->canonical;
  *same = equal(canonical, live, as);
  if (*same || (canonical->kind != LDX_KIND_EXCLUSION && !ldx_pg_needs_server(canonical))) return true;
  const ldx_key *written = canonical->keys;
  if (!ldx_pg_may_create_temporary(attempt->session, attempt->error) ||
      !ldx_pg_shadow_all(attempt->session, attempt->arena, &declared, 1, attempt->context, attempt->error))
    return false;
  if (declared->error) return true;
  if (canonical->keys != written) {
    *same = equal(canonical, live, as);
  } else { /* the server could not build it on a copy: it is about the relation itself */
    ldx_definition a = without_texts(attempt->arena, canonical), b = without_texts(attempt->arena, live);
    *same = equal(&a, &b, as);
  }
  return true;
}

bool ldx_pg_compare(ldx_pg_attempt *attempt, const char *oid, const char *name, ldx_pg_as as, bool *same) {
  *same = false;
  ldx_catalog *catalog = read_around(attempt, oid);
  if (!catalog) return false;
  ldx_declared declared = {.definition = *attempt->step->definition};
  declared.definition.relation = attempt->step->relation;
  const ldx_relation *relation = ldx_catalog_relation(catalog, attempt->step->relation);
  const ldx_live *live = relation ? named(relation, name, as) : NULL;
  bool ok = true;
  if (live && ldx_pg_canonicalize(attempt->arena, catalog, &declared)) {
    declared.resolved = true;
    ok = compare_with(attempt, &declared, &live->definition, as, same);
  }
  ldx_catalog_release(catalog);
  return ok;
}
