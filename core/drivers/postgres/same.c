/* DESIGN
 *
 * A name says nothing: what has it may be the work of an attempt whose answer was lost, or somebody else's. So the one
 * relation is read as the catalog reads all of them, the other definition is brought into canonical form as the plan
 * does it, and the fingerprints decide. This costs a round trip or two, but only where the name is taken.
 */
#include "same.h"

#include <string.h>

#include "canonical.h"
#include "catalog.h"
#include "shadow.h"

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
  const ldx_definition *canonical = declared->canonical;
  *same = equal(canonical, live, as);
  if (*same || (canonical->kind != LDX_KIND_EXCLUSION && !ldx_pg_needs_server(canonical))) return true;
  if (!ldx_pg_may_create_temporary(attempt->session, attempt->error) ||
      !ldx_pg_shadow_all(attempt->session, attempt->arena, &declared, 1, attempt->context, attempt->error))
    return false;
  if (declared->error) return true;
  if (declared->canonical != canonical) {
    *same = equal(declared->canonical, live, as);
  } else { /* the server could not build it on a copy: it is about the relation itself */
    ldx_definition a = without_texts(attempt->arena, canonical), b = without_texts(attempt->arena, live);
    *same = equal(&a, &b, as);
  }
  return true;
}

bool ldx_pg_compare(ldx_pg_attempt *attempt, const ldx_definition *definition, const char *oid, const char *name,
                    ldx_pg_as as, bool *same) {
  *same = false;
  ldx_catalog *catalog = ldx_pg_catalog_around(attempt->session, attempt->context, oid, attempt->error);
  if (!catalog) return false;
  ldx_definition own = *definition;
  own.relation = attempt->step->relation;
  ldx_declared declared = {.definition = &own};
  const ldx_relation *relation = ldx_catalog_relation(catalog, attempt->step->relation);
  const ldx_live *live = relation ? named(relation, name, as) : NULL;
  bool ok = true;
  if (live && ldx_pg_canonicalize(attempt->arena, catalog, &declared)) {
    declared.resolved = true;
    ok = compare_with(attempt, &declared, live->definition, as, same);
  }
  ldx_catalog_release(catalog);
  return ok;
}
