/* DESIGN
 *
 * A declaration whose text is already that of a live index needs nothing more: the server wrote that text. The others,
 * unless they are made of plain columns alone, are put to the server (shadow.c), so that however a predicate was spelt, it
 * meets its live twin. So a run with nothing to do costs no round trip here.
 *
 * Whatever is not live as it is declared is to be built or altered, and so must be possible: what the catalog tells is
 * checked (check.c), the rest the server refuses on its copy, where keys are tried for that reason alone.
 *
 * It may be called again after it failed: everything begins from `definition`, and nothing counts as resolved before the
 * server has answered for all. What was taken for resolved by its text alone would be built beside its live twin.
 */
#include "resolve.h"

#include <stdlib.h>

#include "canonical.h"
#include "check.h"
#include "explain.h"
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

/* A twin in which nothing is to be altered either. */
static bool is_live_as_declared(const ldx_declared *declared) {
  const ldx_relation *relation = declared->relation;
  for (size_t i = 0; i < relation->live_count; i++) {
    const ldx_live *live = relation->live[i];
    if (ldx_fingerprint_equal(live->fingerprint, declared->fingerprint) &&
        (live->inherited || ldx_definition_storage_equal(declared->canonical, live->definition)))
      return true;
  }
  return false;
}

/* Where no temporary relation can be made: plain columns are compared by their text, which says all there is to say; of
 * the rest nothing could be promised. */
static bool without_server(ldx_declared **ask, size_t asked, const ldx_error *why, ldx_error *error) {
  size_t open = 0;
  for (size_t i = 0; i < asked; i++) open += ldx_pg_needs_server(ask[i]->canonical) && !has_live_twin(ask[i]);
  if (open == 0) return true;
  *error = *why;
  return false;
}

static bool ask_server(ldx_session *session, ldx_arena *arena, ldx_declared **ask, size_t asked, ldx_context *context,
                       ldx_error *error) {
  ldx_error why;
  const ldx_server_info *info = ldx_pg_info(session);
  if (info->read_only) {
    ldx_error_set(&why, LDX_ERROR_READ_ONLY,
                  "definitions with an expression, predicate, operator class or collation cannot be compared %s",
                  info->standby ? "on a standby" : "while default_transaction_read_only is on");
    ldx_error_hint(&why, "%s",
                   info->standby ? "Connect to the primary."
                                 : "It is set for the role, the database, the server or this connection (PGOPTIONS): "
                                   "connect as another role, or turn it off.");
    return without_server(ask, asked, &why, error);
  }
  if (!ldx_pg_may_create_temporary(session, &why)) {
    if (why.code == LDX_ERROR_PERMISSION) return without_server(ask, asked, &why, error);
    *error = why;
    return false;
  }
  return ldx_pg_shadow_all(session, arena, ask, asked, context, error);
}

/* What an attempt that failed has found out is worth nothing to the next one: of some declarations it knows the text
 * alone, and its errors may be the link's. */
static void forget(ldx_declared *declared) {
  declared->relation = NULL;
  declared->resolved = false;
  declared->error = NULL;
}

bool ldx_pg_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                    ldx_error *error) {
  ldx_arena *arena = ldx_declarations_arena(set);
  size_t count = ldx_declarations_count(set), asked = 0, unmatched = 0, explained = 0;
  ldx_declared **ask = calloc(count + 1, sizeof *ask);
  if (!ask) return ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  for (size_t i = 0; i < count; i++) forget(ldx_declarations_at(set, i));
  for (size_t i = 0; i < count; i++) {
    ldx_declared *declared = ldx_declarations_at(set, i);
    if (ldx_pg_canonicalize(arena, catalog, declared)) {
      if (!is_live_as_declared(declared)) ask[unmatched++] = declared;
    } else if (!declared->relation && explained++ < MOST_EXPLAINED) {
      ldx_pg_explain_missing(session, arena, declared);
    }
  }
  bool ok = ldx_pg_check(session, catalog, set, ask, unmatched, error);
  for (size_t i = 0; i < unmatched; i++)
    if (!ask[i]->error && ask[i]->canonical->kind != LDX_KIND_FOREIGN_KEY) ask[asked++] = ask[i];
  ok = ok && (asked == 0 || ask_server(session, arena, ask, asked, context, error));
  for (size_t i = 0; ok && i < asked; i++)
    if (ask[i]->error && explained++ < MOST_EXPLAINED) ldx_pg_explain_refused(session, arena, ask[i]);
  for (size_t i = 0; i < count; i++) {
    ldx_declared *declared = ldx_declarations_at(set, i);
    if (ok)
      declared->resolved = !declared->error;
    else
      forget(declared);
  }
  free(ask);
  return ok;
}
