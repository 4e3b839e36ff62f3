/* DESIGN
 *
 * What the server would refuse only when the build comes to it, when others may have run for hours. All is answered from
 * the catalog that was read anyway, but for one thing: whether two types can be compared for a foreign key is asked by
 * making such a key, since no query repeats the server's rule for it. It is asked once for each pair of different types.
 */
#include "check.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/distance.h"
#include "canonical.h"
#include "render.h"

static const size_t NONE = (size_t)-1;

typedef struct type_pair {
  uint32_t key, reference;
  bool comparable;
  const char *key_name, *reference_name;
} type_pair;

typedef struct work {
  ldx_session *session;
  const ldx_catalog *catalog;
  ldx_declarations *set;
  ldx_arena *arena;
  size_t *first, *next; /* declared unique keys and indexes: lists by relation */
  type_pair *pairs;
  size_t pair_count, pair_room;
} work;

static const char *listed(ldx_arena *arena, const ldx_strings *names) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  for (size_t i = 0; i < names->count; i++) ldx_buffer_appendf(&out, "%s%s", i > 0 ? ", " : "", names->items[i]);
  return ldx_buffer_string(&out);
}

/* `"a", "b"`: as a registry writes them. */
static const char *written(ldx_arena *arena, const ldx_strings *names) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  for (size_t i = 0; i < names->count; i++) ldx_buffer_appendf(&out, "%s\"%s\"", i > 0 ? ", " : "", names->items[i]);
  return ldx_buffer_string(&out);
}

static ldx_strings columns_of(ldx_arena *arena, const ldx_definition *definition) {
  ldx_strings columns = {definition->key_count, LDX_ARENA_NEW(arena, const char *, definition->key_count)};
  for (size_t i = 0; i < columns.count; i++) columns.items[i] = definition->keys[i].column;
  return columns;
}

/* --- tablespaces -------------------------------------------------------------------------------------------------- */

static bool check_tablespace(work *w, ldx_declared *declared) {
  const char *tablespace = declared->canonical->tablespace, *best = NULL;
  if (!tablespace) return true;
  const ldx_strings *all = ldx_catalog_tablespaces(w->catalog);
  for (size_t i = 0; i < all->count; i++) {
    if (strcmp(all->items[i], tablespace) == 0) return true;
    best = ldx_distance_best(tablespace, best, all->items[i]);
  }
  const char *hint =
      best ? ldx_arena_printf(w->arena, "Did you mean \"%s\"?", best)
           : ldx_arena_printf(w->arena, "Create it first, or use one there is: %s.", listed(w->arena, all));
  return ldx_pg_refuse(w->arena, declared, LDX_ERROR_UNDEFINED,
                       ldx_arena_printf(w->arena, "tablespace \"%s\" does not exist", tablespace), hint);
}

/* --- primary keys ------------------------------------------------------------------------------------------------- */

static const ldx_live *live_primary_key(const ldx_relation *relation) {
  for (size_t i = 0; i < relation->live_count; i++)
    if (relation->live[i]->definition->kind == LDX_KIND_PRIMARY_KEY) return relation->live[i];
  return NULL;
}

static bool is_primary_key(const ldx_declared *declared) {
  return !declared->error && declared->canonical->kind == LDX_KIND_PRIMARY_KEY;
}

static bool matches(const ldx_declared *declared, const ldx_live *live) {
  return ldx_fingerprint_equal(declared->fingerprint, live->fingerprint);
}

static void refuse_declared_twice(work *w, ldx_declared *declared, const ldx_declared *first) {
  ldx_pg_refuse(w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
                ldx_arena_printf(w->arena, "%s has another primary key declared, %s%s%s", declared->relation->display,
                                 first->name ? first->name : "", first->name ? ": " : "",
                                 ldx_definition_text(w->arena, first->canonical)),
                "A relation has one primary key: take one of the two away, or make it a unique_constraint.");
}

static void refuse_beside_live(work *w, ldx_declared *declared, const ldx_live *live) {
  ldx_strings columns = columns_of(w->arena, live->definition);
  const char *hint =
      live->inherited
          ? ldx_arena_printf(w->arena,
                             "It comes with that of %s: declare the primary key there, or this one as a "
                             "unique_constraint.",
                             live->relation->parent ? live->relation->parent->display : "a partitioned table")
          : ldx_arena_printf(w->arena,
                             "Declare the live one, primary_key { %s }; or name the new one \"%s\", too, to have it "
                             "replaced; or make it a unique_constraint.",
                             written(w->arena, &columns), live->name);
  ldx_pg_refuse(w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
                ldx_arena_printf(w->arena, "%s has a primary key already, %s: %s; a relation has only one",
                                 declared->relation->display, live->name,
                                 ldx_definition_text(w->arena, live->definition)),
                hint);
}

/* One of the name of the live one, but not its definition, replaces it. */
static bool replaces(const ldx_declared *declared, const ldx_live *live) {
  return declared->name && strcmp(declared->name, live->name) == 0 && !live->inherited && !live->extension_owned;
}

/* The live one first, if it is declared: what is there is not the one that is wrong. */
static void check_primary_keys(work *w) {
  size_t count = ldx_declarations_count(w->set);
  const ldx_declared **holders = NULL;
  for (int pass = 0; pass < 2; pass++) {
    for (size_t i = 0; i < count; i++) {
      ldx_declared *declared = ldx_declarations_at(w->set, i);
      if (!is_primary_key(declared)) continue;
      const ldx_live *live = live_primary_key(declared->relation);
      bool matched = live && matches(declared, live);
      if (matched != (pass == 0)) continue;
      if (!holders) holders = LDX_ARENA_NEW(w->arena, const ldx_declared *, ldx_catalog_relation_count(w->catalog));
      const ldx_declared **holder = &holders[declared->relation->ordinal];
      if (*holder)
        refuse_declared_twice(w, declared, *holder);
      else if (live && !matched && !replaces(declared, live))
        refuse_beside_live(w, declared, live);
      if (!*holder) *holder = declared;
    }
  }
}

/* The server would have to make each column NOT NULL here and in all that inherits it, and changes no such constraint that
 * says of itself that it is not inherited. */
static bool check_not_nulls(work *w, ldx_declared *declared) {
  const ldx_definition *key = declared->canonical;
  for (size_t i = 0; i < key->key_count; i++) {
    const ldx_column *column = ldx_relation_column(declared->relation, key->keys[i].column);
    if (!column || !column->lone) continue;
    const ldx_relation *holder = column->lone->relation;
    return ldx_pg_refuse(
        w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
        ldx_arena_printf(w->arena,
                         "%s cannot be a column of a primary key: the constraint %s of %s, NOT NULL, is NO INHERIT",
                         column->name, column->lone->name, holder->display),
        ldx_arena_printf(w->arena, "ALTER TABLE %s ALTER CONSTRAINT %s INHERIT makes it one that a key can take over.",
                         ldx_pg_quote_name(w->arena, holder->name),
                         ldx_pg_quote_identifier(w->arena, column->lone->name)));
  }
  return true;
}

static bool is_below(const ldx_relation *relation, const ldx_relation *top) {
  while (relation && relation != top) relation = relation->parent;
  return relation != NULL;
}

/* From PostgreSQL 18 on a column's NOT NULL is a constraint, which a partition that is being detached would not get, and
 * without which the server cannot end that ("unmatched constraints while removing inheritance"). */
static bool check_detachments(work *w, ldx_declared *declared) {
  const ldx_definition *key = declared->canonical;
  bool nullable = false;
  for (size_t i = 0; i < key->key_count; i++) {
    const ldx_column *column = ldx_relation_column(declared->relation, key->keys[i].column);
    nullable = nullable || (column && !column->not_null);
  }
  if (!nullable || ldx_pg_version(w->session) < 180000) return true;
  for (size_t i = 0; i < ldx_catalog_relation_count(w->catalog); i++) {
    const ldx_relation *partition = ldx_catalog_relation_at(w->catalog, i);
    if (!is_below(partition->detaching, declared->relation)) continue;
    return ldx_pg_refuse(
        w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
        ldx_arena_printf(
            w->arena,
            "no column can be made NOT NULL for a primary key while %s is being detached: the server could "
            "not end that",
            partition->display),
        ldx_arena_printf(w->arena, "If nobody is at it any more: ALTER TABLE %s DETACH PARTITION %s FINALIZE.",
                         ldx_pg_quote_name(w->arena, partition->detaching->name),
                         ldx_pg_quote_name(w->arena, partition->name)));
  }
  return true;
}

/* --- what a foreign key references -------------------------------------------------------------------------------- */

static bool is_unique(const ldx_definition *definition) {
  if (!definition->unique || definition->predicate) return false;
  for (size_t i = 0; i < definition->key_count; i++)
    if (!definition->keys[i].column) return false;
  return true;
}

static void list_declared(work *w) {
  size_t relations = ldx_catalog_relation_count(w->catalog), count = ldx_declarations_count(w->set);
  w->first = LDX_ARENA_NEW(w->arena, size_t, relations);
  w->next = LDX_ARENA_NEW(w->arena, size_t, count);
  for (size_t i = 0; i < relations; i++) w->first[i] = NONE;
  for (size_t i = 0; i < count; i++) {
    const ldx_declared *declared = ldx_declarations_at(w->set, i);
    if (!declared->relation || !is_unique(declared->definition)) continue;
    w->next[i] = w->first[declared->relation->ordinal];
    w->first[declared->relation->ordinal] = i;
  }
}

/* In any order, as the server takes them. */
static bool has_these_columns(const ldx_definition *key, const ldx_strings *columns) {
  if (key->key_count != columns->count) return false;
  for (size_t i = 0; i < columns->count; i++) {
    bool found = false;
    for (size_t j = 0; j < key->key_count; j++) found = found || strcmp(key->keys[j].column, columns->items[i]) == 0;
    if (!found) return false;
  }
  return true;
}

static bool can_be_referenced(const ldx_definition *key, const ldx_definition *foreign_key) {
  return is_unique(key) && !key->deferrable && key->without_overlaps == foreign_key->without_overlaps;
}

/* A declared one counts, since it is built before the foreign key; if it is itself wrong, that is told anyway. */
static bool has_key(work *w, const ldx_relation *other, const ldx_definition *foreign_key, const ldx_strings *columns,
                    const ldx_live **deferrable) {
  for (size_t i = 0; i < other->live_count; i++) {
    const ldx_live *live = other->live[i];
    if (!live->valid || !live->live || !is_unique(live->definition)) continue;
    if (!has_these_columns(live->definition, columns)) continue;
    if (can_be_referenced(live->definition, foreign_key)) return true;
    if (live->definition->deferrable) *deferrable = live;
  }
  for (size_t i = w->first[other->ordinal]; i != NONE; i = w->next[i]) {
    const ldx_definition *key = ldx_declarations_at(w->set, i)->definition;
    if (can_be_referenced(key, foreign_key) && has_these_columns(key, columns)) return true;
  }
  return false;
}

static const ldx_definition *declared_primary_key(work *w, const ldx_relation *other) {
  for (size_t i = w->first[other->ordinal]; i != NONE; i = w->next[i]) {
    const ldx_definition *definition = ldx_declarations_at(w->set, i)->definition;
    if (definition->kind == LDX_KIND_PRIMARY_KEY) return definition;
  }
  return NULL;
}

static bool refuse_no_key(work *w, ldx_declared *declared, const ldx_relation *other, const ldx_strings *columns,
                          const ldx_live *deferrable) {
  const ldx_live *primary = live_primary_key(other);
  bool period = declared->canonical->without_overlaps;
  const char *declare =
      ldx_arena_printf(w->arena, "Declare unique_constraint { %s%s } on %s", written(w->arena, columns),
                       period ? ", without_overlaps = true" : "", other->display);
  const char *hint;
  if (deferrable) {
    hint = ldx_arena_printf(w->arena, "%s is deferrable, which no foreign key can reference.", deferrable->name);
  } else if (primary) {
    ldx_strings its = columns_of(w->arena, primary->definition);
    hint = ldx_arena_printf(w->arena, "%s, or reference its primary key: references = { \"%s\", %s }.", declare,
                            other->display, written(w->arena, &its));
  } else {
    hint = ldx_arena_printf(w->arena, "%s.", declare);
  }
  return ldx_pg_refuse(
      w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
      ldx_arena_printf(w->arena, "%s (%s) cannot be referenced: it has no %s of just these columns", other->display,
                       listed(w->arena, columns),
                       period ? "key WITHOUT OVERLAPS" : "primary key, unique constraint or unique index"),
      hint);
}

static bool refuse_count(work *w, ldx_declared *declared, const ldx_relation *other, const ldx_strings *columns) {
  ldx_strings own = columns_of(w->arena, declared->canonical);
  return ldx_pg_refuse(
      w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
      ldx_arena_printf(w->arena, "%zu column%s (%s) cannot reference %zu: the key of %s is (%s)", own.count,
                       own.count == 1 ? "" : "s", listed(w->arena, &own), columns->count, other->display,
                       listed(w->arena, columns)),
      ldx_arena_printf(w->arena,
                       "Name a column for each of them, or the key that is meant: references = { \"%s\", … }.",
                       other->display));
}

/* --- types -------------------------------------------------------------------------------------------------------- */

/* Any refusal but "of incompatible types" says nothing about them; then the build will tell. */
static bool ask_types(work *w, type_pair *pair, ldx_error *error) {
  static const char incompatible[] = "42804";
  char *names = ldx_arena_printf(w->arena, "select pg_catalog.format_type(%u, null), pg_catalog.format_type(%u, null)",
                                 pair->key, pair->reference);
  PGresult *result = ldx_pg_exec(w->session, names, error);
  if (!result) return false;
  pair->key_name = ldx_arena_strdup(w->arena, PQgetvalue(result, 0, 0));
  pair->reference_name = ldx_arena_strdup(w->arena, PQgetvalue(result, 0, 1));
  PQclear(result);
  ldx_error refusal;
  char *sql = ldx_arena_printf(w->arena,
                               "begin read write; set local client_min_messages = error;\n"
                               "create temporary table lunadex_key (k %s unique);\n"
                               "create temporary table lunadex_reference (r %s references pg_temp.lunadex_key (k));\n",
                               pair->key_name, pair->reference_name);
  bool made = ldx_pg_do(w->session, sql, &refusal);
  ldx_pg_rollback(w->session);
  if (!made && (ldx_error_retry(refusal.code) != LDX_RETRY_NEVER || refusal.code == LDX_ERROR_CANCELLED)) {
    *error = refusal;
    return false;
  }
  pair->comparable = made || strcmp(refusal.native, incompatible) != 0;
  return true;
}

/* NULL if the server cannot be asked any more. */
static const type_pair *compare_types(work *w, uint32_t key, uint32_t reference, ldx_error *error) {
  for (size_t i = 0; i < w->pair_count; i++)
    if (w->pairs[i].key == key && w->pairs[i].reference == reference) return &w->pairs[i];
  if (w->pair_count == w->pair_room) {
    size_t room = w->pair_room ? w->pair_room * 2 : 16;
    type_pair *pairs = LDX_ARENA_NEW(w->arena, type_pair, room);
    if (w->pair_count) memcpy(pairs, w->pairs, w->pair_count * sizeof *pairs);
    w->pairs = pairs;
    w->pair_room = room;
  }
  type_pair *pair = &w->pairs[w->pair_count];
  *pair = (type_pair){.key = key, .reference = reference};
  if (!ask_types(w, pair, error)) return NULL;
  w->pair_count++;
  return pair;
}

static bool check_types(work *w, ldx_declared *declared, const ldx_relation *other, const ldx_strings *columns,
                        ldx_error *error) {
  const ldx_definition *foreign_key = declared->canonical;
  if (ldx_pg_info(w->session)->read_only) return true;
  for (size_t i = 0; i < columns->count; i++) {
    if (foreign_key->without_overlaps && i + 1 == columns->count) continue; /* compared in another way */
    const ldx_column *reference = ldx_relation_column(declared->relation, foreign_key->keys[i].column);
    const ldx_column *key = ldx_relation_column(other, columns->items[i]);
    if (!reference || !key || reference->type == key->type) continue;
    const type_pair *pair = compare_types(w, key->type, reference->type, error);
    if (!pair) return false;
    if (pair->comparable) continue;
    ldx_pg_refuse(w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
                  ldx_arena_printf(w->arena, "%s is %s and cannot reference %s of %s, which is %s", reference->name,
                                   pair->reference_name, key->name, other->display, pair->key_name),
                  "Give both columns the same type, or reference another column.");
    return true;
  }
  return true;
}

/* False only if the server cannot be asked any more. */
static bool check_foreign_key(work *w, ldx_declared *declared, ldx_error *error) {
  const ldx_relation *other = ldx_catalog_relation(w->catalog, declared->canonical->references);
  if (!other) return true;
  if (!w->first) list_declared(w);
  ldx_strings columns = declared->canonical->references_columns;
  if (columns.count == 0) {
    const ldx_definition *key = declared_primary_key(w, other);
    if (!key) {
      ldx_pg_refuse(w->arena, declared, LDX_ERROR_INVALID_DEFINITION,
                    ldx_arena_printf(w->arena, "%s has no primary key to be referenced", other->display),
                    ldx_arena_printf(w->arena,
                                     "Declare one, or say which unique columns are meant: references = { "
                                     "\"%s\", \"column\" }.",
                                     other->display));
      return true;
    }
    columns = columns_of(w->arena, key);
  }
  const ldx_live *deferrable = NULL;
  if (columns.count != declared->canonical->key_count) {
    refuse_count(w, declared, other, &columns);
  } else if (!has_key(w, other, declared->canonical, &columns, &deferrable)) {
    refuse_no_key(w, declared, other, &columns, deferrable);
  } else {
    return check_types(w, declared, other, &columns, error);
  }
  return true;
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

bool ldx_pg_check(ldx_session *session, const ldx_catalog *catalog, ldx_declarations *set, ldx_declared **unmatched,
                  size_t count, ldx_error *error) {
  work w = {.session = session, .catalog = catalog, .set = set, .arena = ldx_declarations_arena(set)};
  check_primary_keys(&w);
  for (size_t i = 0; i < count; i++) {
    ldx_declared *declared = unmatched[i];
    if (declared->error || !check_tablespace(&w, declared)) continue;
    if (declared->canonical->kind == LDX_KIND_PRIMARY_KEY &&
        !(check_not_nulls(&w, declared) && check_detachments(&w, declared)))
      continue;
    if (declared->canonical->kind == LDX_KIND_FOREIGN_KEY && !check_foreign_key(&w, declared, error)) return false;
  }
  return true;
}
