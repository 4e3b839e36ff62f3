/* DESIGN
 *
 * Everything is known without the server but what a collation leaves out, so a run with nothing to do costs no round trip
 * here, or one for each collation that is spelt in part. It may be called again after it failed: everything begins from
 * `definition`.
 */
#include "resolve.h"

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

/* --- one declaration -------------------------------------------------------------------------------------------------------- */

static bool find_relation(ldx_session *session, ldx_catalog *catalog, ldx_declared *declared, ldx_error *error) {
  ldx_name name = declared->definition.relation;
  if (name.schema)
    return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "MongoDB has no schemas: the collection is called %s.%s",
                         name.schema, name.name);
  declared->relation = ldx_catalog_relation(catalog, name);
  if (declared->relation) return true;
  if (!ldx_mongo_check_collection(name.name, session->database, error)) return false;
  ldx_arena *arena = ldx_catalog_arena(catalog);
  name.name = ldx_arena_strdup(arena, name.name);
  declared->relation = ldx_catalog_add_absent(catalog, name);
  declared->relation->display = name.name;
  return true;
}

static bool resolve_one(ldx_session *session, ldx_arena *arena, ldx_catalog *catalog, ldx_declared *declared,
                        ldx_error *error) {
  if (!find_relation(session, catalog, declared, error)) return false;
  if (declared->name && !ldx_mongo_check_name(declared->name, error)) return false;
  if (!ldx_mongo_canonical(arena, &declared->definition, declared->relation->collation, collations_of(session),
                           &declared->canonical, error))
    return false;
  declared->fingerprint = ldx_definition_fingerprint(&declared->canonical);
  declared->canonical.relation = declared->relation->name;
  if (!ldx_mongo_check_server(session, &declared->canonical, error)) return false;
  return ldx_mongo_check_relation(&declared->canonical, declared->relation, error);
}

/* --- what they add up to ------------------------------------------------------------------------------------------------------ */

static ldx_error *refusal(ldx_arena *arena, const ldx_error *why) {
  ldx_error *error = LDX_ARENA_NEW(arena, ldx_error, 1);
  *error = *why;
  return error;
}

/* By relation: what is declared for it so far. */
typedef struct tally {
  size_t indexes;
  const ldx_declared *text;
} tally;

static size_t room_of(const ldx_relation *relation) {
  bool in_order = relation->kind == 't';
  for (size_t i = 0; i < relation->live_count; i++) in_order |= relation->live[i]->clustered;
  return in_order ? MOST_INDEXES : MOST_INDEXES - 1;
}

static void count_one(ldx_arena *arena, tally *tallies, ldx_declared *declared) {
  tally *t = &tallies[declared->relation->ordinal];
  ldx_error why;
  ldx_error_clear(&why);
  bool text = ldx_mongo_kind_of(&declared->canonical) == LDX_MONGO_TEXT;
  if (text && t->text && !ldx_fingerprint_equal(t->text->fingerprint, declared->fingerprint)) {
    ldx_error_set(&why, LDX_ERROR_INVALID_DEFINITION, "a collection has one text index only, and another is declared");
    ldx_error_hint(&why, "One text index can hold all the fields, with weights.");
  } else if (++t->indexes > room_of(declared->relation)) {
    ldx_error_set(&why, LDX_ERROR_INVALID_DEFINITION, "this collection has %zu indexes at most%s",
                  room_of(declared->relation),
                  room_of(declared->relation) < MOST_INDEXES ? ", besides the one on _id" : "");
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
    declared->resolved = resolve_one(session, arena, catalog, declared, &why);
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
