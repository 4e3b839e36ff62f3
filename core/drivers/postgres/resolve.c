/* DESIGN
 *
 * A declaration whose text is already that of a live index needs nothing more: the server wrote that text. The others,
 * unless they are made of plain columns alone, are put to the server (shadow.c), so that however a predicate was spelt, it
 * meets its live twin. So a run with nothing to do costs no round trip here.
 */
#include "resolve.h"

#include <stdlib.h>

#include "canonical.h"
#include "render.h"
#include "shadow.h"

/* A registry for quite another database would cost a question a declaration. */
enum { MOST_EXPLAINED = 50 };

static bool has_live_twin(const ldx_declared *declared) {
  const ldx_relation *relation = declared->relation;
  for (size_t i = 0; i < relation->live_count; i++)
    if (ldx_fingerprint_equal(relation->live[i]->fingerprint, declared->fingerprint)) return true;
  return false;
}

/* Where no temporary relation can be made: plain columns are compared by their text, which says all there is to say; of
 * the rest nothing could be promised. */
static bool without_server(ldx_declared **ask, size_t asked, const ldx_error *why, ldx_error *error) {
  size_t open = 0;
  for (size_t i = 0; i < asked; i++) open += ldx_pg_needs_server(&ask[i]->canonical);
  if (open == 0) return true;
  *error = *why;
  return false;
}

static bool ask_server(ldx_session *session, ldx_arena *arena, ldx_declared **ask, size_t asked, ldx_error *error) {
  ldx_error why;
  if (ldx_pg_info(session)->read_only) {
    ldx_error_set(&why, LDX_ERROR_READ_ONLY,
                  "definitions with an expression, predicate, operator class or collation cannot be compared on a "
                  "read-only server");
    ldx_error_hint(&why, "Connect to the primary.");
    return without_server(ask, asked, &why, error);
  }
  if (!ldx_pg_may_create_temporary(session, &why)) {
    if (why.code == LDX_ERROR_PERMISSION) return without_server(ask, asked, &why, error);
    *error = why;
    return false;
  }
  return ldx_pg_shadow_all(session, arena, ask, asked, error);
}

/* A name that is something else than a table: the catalog has no others, so that it only seems not to exist. */
static void explain_missing(ldx_session *session, ldx_arena *arena, ldx_declared *declared) {
  const char *values[] = {ldx_pg_quote_name(arena, declared->definition.relation)};
  PGresult *result = ldx_pg_exec_params(
      session, "select c.relkind from pg_catalog.pg_class c where c.oid = pg_catalog.to_regclass($1)", 1, values, NULL);
  const char *what = NULL;
  if (result && PQntuples(result) == 1) {
    switch (*PQgetvalue(result, 0, 0)) {
    case 'v':
      what = "a view";
      break;
    case 'S':
      what = "a sequence";
      break;
    case 'i':
    case 'I':
      what = "an index";
      break;
    case 'c':
      what = "a composite type";
      break;
    default:
      what = "the system's own";
    }
  }
  PQclear(result);
  if (!what) return;
  ldx_error_set(declared->error, LDX_ERROR_UNDEFINED, "%s is %s: it cannot have indexes or keys of its own",
                ldx_pg_display_name(arena, declared->definition.relation), what);
  ldx_error_hint(declared->error, "Tables, partitioned tables and materialized views can.");
}

bool ldx_pg_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_error *error) {
  ldx_arena *arena = ldx_declarations_arena(set);
  size_t count = ldx_declarations_count(set), asked = 0, explained = 0;
  ldx_declared **ask = calloc(count + 1, sizeof *ask);
  if (!ask) return ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  for (size_t i = 0; i < count; i++) {
    ldx_declared *declared = ldx_declarations_at(set, i);
    if (declared->resolved || declared->error) continue;
    if (!ldx_pg_canonicalize(arena, catalog, declared)) {
      if (!declared->relation && explained++ < MOST_EXPLAINED) explain_missing(session, arena, declared);
      continue;
    }
    declared->resolved = true;
    const ldx_definition *canonical = &declared->canonical;
    bool index_like = canonical->kind == LDX_KIND_INDEX || canonical->kind == LDX_KIND_EXCLUSION;
    if (index_like && !has_live_twin(declared)) ask[asked++] = declared;
  }
  bool ok = asked == 0 || ask_server(session, arena, ask, asked, error);
  free(ask);
  return ok;
}
