/* DESIGN
 *
 * A declaration that is written as a live index of its collection is told needs nothing more: that is its canonical form,
 * and the server has accepted it. Of the others everything is known without the server but what a collation leaves out, so
 * a run with nothing to do costs no round trip here, or one for each collation that is spelt in part. It may be called
 * again after it failed: everything begins from `definition`.
 */
#include "resolve.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "model/catalog.h"
#include "spec.h"

/* Of a collection. That on _id is one of them, where it is an index: documents that are clustered, or kept in buckets, are
 * in its order themselves. */
enum { MOST_INDEXES = 64 };

static ldx_mongo_collations *collations_of(ldx_session *session) {
  if (!session->collations) session->collations = ldx_mongo_collations_new(session);
  return session->collations;
}

/* --- what is live as it is written ------------------------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b) {
  return a && b ? !strcmp(a, b) : a == b;
}

/* Whatever blanks there are between the parts. */
static bool same_json(const char *a, const char *b) {
  if (!a || !b) return a == b;
  for (bool quoted = false;; a++, b++) {
    if (!quoted) {
      while (*a == ' ') a++;
      while (*b == ' ') b++;
    }
    if (*a != *b || !*a) return *a == *b;
    if (*a == '"') quoted = !quoted;
    if (*a == '\\' && (*++a != *++b || !*a)) return *a == *b;
  }
}

/* Whether a filter's text stands for nothing but itself: what JSON has no type for may be told as something else is. */
static bool is_plain(const char *filter) {
  static const char *const operators[] = {"$eq\"",  "$gt\"",     "$gte\"",  "$lt\"",  "$lte\"", "$in\"",
                                          "$all\"", "$exists\"", "$type\"", "$and\"", "$or\""};
  for (const char *found = filter; (found = strstr(found, "\"$")); found++) {
    bool known = false;
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
      known = known || !strncmp(found + 1, operators[i], strlen(operators[i]));
    if (!known) return false;
  }
  return true;
}

static bool same_filter(const char *declared, const char *live) {
  return declared && live ? same_json(declared, live) && is_plain(live) : declared == live;
}

static bool same_keys(const ldx_definition *a, const ldx_definition *b) {
  if (a->key_count != b->key_count) return false;
  for (size_t i = 0; i < a->key_count; i++) {
    const ldx_key *x = &a->keys[i], *y = &b->keys[i];
    if (!same_text(x->column, y->column) || !same_text(x->opclass, y->opclass) || x->collation) return false;
    if (x->descending != y->descending || x->nulls_first != y->nulls_first) return false;
  }
  return true;
}

/* All options but the collation, in any order. */
static bool same_options(const ldx_options *a, const ldx_options *b) {
  size_t left = b->count - (ldx_mongo_option(b, "collation") != NULL);
  for (size_t i = 0; i < a->count; i++) {
    if (!strcmp(a->items[i].name, "collation")) continue;
    if (!same_json(a->items[i].value, ldx_mongo_option(b, a->items[i].name)) || left-- == 0) return false;
  }
  return left == 0;
}

/* Where none is declared, it is the collection's, but for the kinds that have to say that theirs is none. */
static bool same_collation(const ldx_definition *declared, const ldx_definition *live, const ldx_relation *relation) {
  const char *wanted = ldx_mongo_option(&declared->traits, "collation");
  if (!wanted && relation->collation) {
    ldx_mongo_kind kind = ldx_mongo_kind_of(declared);
    wanted = kind == LDX_MONGO_TEXT || kind == LDX_MONGO_2D ? LDX_MONGO_SIMPLE : relation->collation;
  }
  return same_json(wanted, ldx_mongo_option(&live->traits, "collation"));
}

static bool is_told_as(const ldx_definition *declared, const ldx_definition *live, const ldx_relation *relation) {
  if (declared->kind != live->kind || declared->unique != live->unique || !same_keys(declared, live)) return false;
  if (!same_filter(declared->predicate, live->predicate) || !same_text(declared->method, live->method)) return false;
  if (declared->include.count || declared->nulls_not_distinct || declared->tablespace) return false;
  return same_options(&declared->traits, &live->traits) && same_options(&declared->storage, &live->storage) &&
         same_collation(declared, live, relation);
}

static int compare_name(const void *name, const void *live) {
  return strcmp(name, (*(ldx_live *const *)live)->name);
}

/* Mostly it has the name that is declared. */
static const ldx_live *live_as_written(const ldx_declared *declared) {
  const ldx_relation *relation = declared->relation;
  ldx_live **namesake =
      declared->name && relation->live_count
          ? bsearch(declared->name, relation->live, relation->live_count, sizeof *relation->live, compare_name)
          : NULL;
  if (namesake && is_told_as(declared->definition, (*namesake)->definition, relation)) return *namesake;
  for (size_t i = 0; i < relation->live_count; i++)
    if (is_told_as(declared->definition, relation->live[i]->definition, relation)) return relation->live[i];
  return NULL;
}

/* --- one declaration -------------------------------------------------------------------------------------------------------- */

/* `before`: the declaration before it, mostly of the same collection; or NULL. */
static bool find_relation(ldx_session *session, ldx_catalog *catalog, const ldx_declared *before,
                          ldx_declared *declared, ldx_error *error) {
  ldx_name name = declared->definition->relation;
  if (name.schema)
    return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "MongoDB has no schemas: the collection is called %s.%s",
                         name.schema, name.name);
  bool same = before && before->relation && !strcmp(before->relation->name.name, name.name);
  declared->relation = same ? before->relation : ldx_catalog_relation(catalog, name);
  if (declared->relation) return true;
  if (!ldx_mongo_check_collection(name.name, session->database, error)) return false;
  ldx_arena *arena = ldx_catalog_arena(catalog);
  name.name = ldx_arena_strdup(arena, name.name);
  declared->relation = ldx_catalog_add_absent(catalog, name);
  declared->relation->display = name.name;
  return true;
}

/* Where nothing is said of an index's format, that of the live one will do: the server takes both for the same index, and
 * what is old stays as it is until somebody wants it otherwise. */
static void adopt_versions(ldx_arena *arena, const ldx_declared *declared, ldx_definition *canonical) {
  static const char *const versions[] = {"v", "textIndexVersion", "2dsphereIndexVersion"};
  enum { VERSIONS = sizeof versions / sizeof *versions };
  ldx_option adopted[VERSIONS];
  size_t count = 0;
  for (size_t i = 0; !count && i < declared->relation->live_count; i++) {
    const ldx_definition *live = declared->relation->live[i]->definition;
    for (size_t k = 0; k < VERSIONS; k++) {
      const char *value = ldx_mongo_option(&live->storage, versions[k]);
      if (value && !ldx_mongo_option(&declared->definition->storage, versions[k]))
        adopted[count++] = (ldx_option){versions[k], value};
    }
    if (count && !ldx_mongo_same_but_for_unique(live, canonical)) count = 0;
  }
  if (!count) return;
  ldx_options *storage = &canonical->storage;
  ldx_option *items = LDX_ARENA_NEW(arena, ldx_option, storage->count + count);
  if (storage->count) memcpy(items, storage->items, storage->count * sizeof *items);
  memcpy(items + storage->count, adopted, count * sizeof *items);
  *storage = (ldx_options){storage->count + count, items};
}

static bool resolve_one(ldx_session *session, ldx_arena *arena, ldx_catalog *catalog, const ldx_declared *before,
                        ldx_declared *declared, ldx_error *error) {
  if (!find_relation(session, catalog, before, declared, error)) return false;
  if (declared->name && !ldx_mongo_check_name(declared->name, error)) return false;
  const ldx_live *live = live_as_written(declared);
  if (live) {
    declared->canonical = live->definition;
    declared->fingerprint = live->fingerprint;
    return true;
  }
  ldx_definition *canonical = LDX_ARENA_NEW(arena, ldx_definition, 1);
  declared->canonical = canonical;
  if (!ldx_mongo_canonical(arena, declared->definition, declared->relation->collation, collations_of(session),
                           canonical, error))
    return false;
  declared->fingerprint = ldx_definition_fingerprint(canonical);
  adopt_versions(arena, declared, canonical);
  canonical->relation = declared->relation->name;
  if (!ldx_mongo_check_server(session, declared->canonical, error)) return false;
  return ldx_mongo_check_relation(declared->canonical, declared->relation, error);
}

/* --- what they add up to ------------------------------------------------------------------------------------------------------ */

static ldx_error *refusal(ldx_arena *arena, const ldx_error *why) {
  ldx_error *error = LDX_ARENA_NEW(arena, ldx_error, 1);
  *error = *why;
  return error;
}

/* By relation: what is declared for it so far. */
typedef struct tally {
  size_t indexes, room;
  const ldx_declared *text;
} tally;

static size_t room_of(const ldx_relation *relation) {
  bool in_order = relation->kind == 't';
  for (size_t i = 0; i < relation->live_count; i++) in_order |= relation->live[i]->clustered;
  return in_order ? MOST_INDEXES : MOST_INDEXES - 1;
}

static void count_one(ldx_arena *arena, tally *tallies, ldx_declared *declared) {
  tally *t = &tallies[declared->relation->ordinal];
  if (!t->room) t->room = room_of(declared->relation);
  ldx_error why;
  ldx_error_clear(&why);
  bool text = ldx_mongo_kind_of(declared->canonical) == LDX_MONGO_TEXT;
  if (text && t->text && !ldx_fingerprint_equal(t->text->fingerprint, declared->fingerprint)) {
    ldx_error_set(&why, LDX_ERROR_INVALID_DEFINITION, "a collection has one text index only, and another is declared");
    ldx_error_hint(&why, "One text index can hold all the fields, with weights.");
  } else if (++t->indexes > t->room) {
    ldx_error_set(&why, LDX_ERROR_INVALID_DEFINITION, "this collection has %zu indexes at most%s", t->room,
                  t->room < MOST_INDEXES ? ", besides the one on _id" : "");
  }
  if (text && !t->text) t->text = declared;
  if (why.code == LDX_ERROR_NONE) return;
  declared->resolved = false;
  declared->error = refusal(arena, &why);
}

static void forget(ldx_declared *declared) {
  declared->relation = NULL;
  declared->resolved = false;
  declared->error = NULL;
}

static bool resolve_all(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_error *error) {
  ldx_arena *arena = ldx_declarations_arena(set);
  size_t count = ldx_declarations_count(set);
  for (size_t i = 0; i < count; i++) forget(ldx_declarations_at(set, i));
  for (size_t i = 0; i < count; i++) {
    ldx_declared *declared = ldx_declarations_at(set, i);
    ldx_error why;
    ldx_error_clear(&why);
    const ldx_declared *before = i ? ldx_declarations_at(set, i - 1) : NULL;
    declared->resolved = resolve_one(session, arena, catalog, before, declared, &why);
    if (declared->resolved) continue;
    /* Not the declaration's fault: nothing is known then. */
    if (ldx_error_retry(why.code) != LDX_RETRY_NEVER || why.code == LDX_ERROR_CANCELLED) {
      for (size_t j = 0; j < count; j++) forget(ldx_declarations_at(set, j));
      *error = why;
      return false;
    }
    declared->error = refusal(arena, &why);
  }
  tally *tallies = LDX_ARENA_NEW(arena, tally, ldx_catalog_relation_count(catalog) + 1);
  for (size_t i = 0; i < count; i++)
    if (ldx_declarations_at(set, i)->resolved) count_one(arena, tallies, ldx_declarations_at(set, i));
  return true;
}

bool ldx_mongo_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                       ldx_error *error) {
  session->context = context;
  bool ok = resolve_all(session, catalog, set, error);
  session->context = NULL;
  return ok;
}
