#include "guard.h"

#include <stdlib.h>
#include <string.h>

#include "render.h"

/* What the server finds to be no number, in any language, where a guard fails: DO would need plpgsql, which may be gone. */
#define CHANGED "is not what was looked at"

static const char *relation_display(ldx_pg_attempt *attempt) {
  return ldx_pg_display_name(attempt->arena, attempt->step->relation);
}

bool ldx_pg_see_thing(ldx_pg_attempt *attempt, const char *name, ldx_pg_thing *thing) {
  *thing = (ldx_pg_thing){.name = name};
  if (!ldx_pg_see_index(attempt, name, &thing->index) || !ldx_pg_see_constraint(attempt, name, &thing->constraint))
    return false;
  if (thing->index.index && thing->index.same_relation)
    thing->what = LDX_PG_NAMED_INDEX;
  else if (thing->constraint.type)
    thing->what = LDX_PG_NAMED_CONSTRAINT;
  return true;
}

bool ldx_pg_is_meant(ldx_pg_attempt *attempt, const ldx_pg_thing *thing, uint32_t id,
                     const ldx_definition *definition) {
  if (!id && !definition) return true;
  bool constraint = thing->constraint.type, wanted = definition ? definition->kind != LDX_KIND_INDEX : constraint;
  const char *oid = constraint ? thing->constraint.object : thing->index.object;
  bool meant = wanted == constraint && id && id == strtoul(oid, NULL, 10);
  if (!meant && wanted == constraint && definition &&
      !ldx_pg_compare(attempt, definition, thing->constraint.relation, thing->name,
                      constraint ? LDX_PG_AS_CONSTRAINT : LDX_PG_AS_INDEX, &meant))
    return false;
  if (meant) return true;
  const char *now = wanted == constraint ? (constraint ? "another constraint" : "another index")
                    : constraint         ? "a constraint"
                                         : "no constraint any more";
  ldx_error_set(attempt->error, LDX_ERROR_DEPENDENT, "%s of %s is %s since it was looked at: it stays", thing->name,
                relation_display(attempt), now);
  ldx_error_hint(attempt->error, "The next run looks at it anew.");
  return false;
}

static char *see(ldx_arena *arena, const ldx_pg_thing *thing, const char *name) {
  char *from;
  const char *literal = ldx_pg_quote_literal(arena, name);
  if (thing->constraint.type)
    from = ldx_arena_printf(arena, "pg_catalog.pg_constraint WHERE oid = %s AND conname = %s", thing->constraint.object,
                            literal);
  else
    from = ldx_arena_printf(
        arena,
        "pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid WHERE c.oid = %s AND c.relname = %s "
        "AND i.indisvalid = %s AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = c.oid "
        "AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x'))",
        thing->index.object, literal, thing->index.valid ? "true" : "false");
  return ldx_arena_printf(arena,
                          "SELECT CASE WHEN pg_catalog.count(*) = 0 THEN (pg_catalog.count(*) || ' " CHANGED
                          "')::pg_catalog.int4 END FROM %s",
                          from);
}

/* An ALTER TABLE that does nothing: whoever may drop something of the relation may send it, while LOCK TABLE asks for
 * rights on its rows, which its owner may have given up. */
char *ldx_pg_sql_guard(ldx_pg_attempt *attempt, const ldx_pg_thing *old, const ldx_pg_thing *new) {
  ldx_arena *arena = attempt->arena;
  char *lock = ldx_arena_printf(arena, "ALTER TABLE ONLY %s SET WITHOUT OIDS;\n",
                                ldx_pg_quote_name(arena, attempt->step->relation));
  return ldx_arena_printf(arena, "%s%s%s%s%s", lock, old ? see(arena, old, old->name) : "", old ? ";\n" : "",
                          new ? see(arena, new, new->name) : "", new ? ";\n" : "");
}

char *ldx_pg_sql_see_renamed(ldx_arena *arena, const ldx_pg_thing *thing, const char *name) {
  return ldx_arena_printf(arena, ";\n%s", see(arena, thing, name));
}

bool ldx_pg_send_guarded(ldx_pg_attempt *attempt, const char *sql) {
  if (ldx_pg_send_in_slices(attempt, sql)) return true;
  if (strstr(attempt->error->message, CHANGED)) {
    ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "what was looked at on %s has been changed in that moment",
                  relation_display(attempt));
    ldx_error_hint(attempt->error, "The next run looks at it anew.");
  }
  return false;
}
