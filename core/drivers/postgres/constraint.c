/* constraint.c: constraints, with as little locking as each kind allows.
 *
 * Unique constraints and primary keys are made from a unique index that was built first; for a primary key over columns
 * that may hold null, a check constraint, validated without blocking anybody, proves to the server that they do not.
 * Foreign keys are added unvalidated, then validated. The key of a partitioned relation is made without its partitions,
 * whose own keys, made in the same ways, are attached to it (perform.c). All else is added in one go and locks the table
 * meanwhile.
 * Every step of these can be the last one before a crash: the next attempt looks, and goes on from there.
 */
#include <string.h>

#include "build.h"
#include "constraint.h"
#include "duplicates.h"
#include "guard.h"
#include "marks.h"
#include "postgres_sql.h"
#include "render.h"
#include "who.h"

/* Somebody may wait for the program to end. */
static const double cleanup_limit = 5;

static const char *relation_display(ldx_pg_attempt *attempt) {
  return ldx_pg_display_name(attempt->arena, attempt->step->relation);
}

static bool missing_relation(ldx_pg_attempt *attempt) {
  return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "relation %s does not exist", relation_display(attempt));
}

static char type_of(ldx_kind kind) {
  switch (kind) {
  case LDX_KIND_UNIQUE:
    return 'u';
  case LDX_KIND_PRIMARY_KEY:
    return 'p';
  case LDX_KIND_EXCLUSION:
    return 'x';
  case LDX_KIND_FOREIGN_KEY:
    return 'f';
  case LDX_KIND_INDEX:
    break;
  }
  return '\0';
}

/* Whether the same may be tried again later, by this run or, after an interruption, the next one: then what took its time
 * stays. */
static bool may_go_on(ldx_pg_attempt *attempt) {
  return ldx_error_retry(attempt->error->code) != LDX_RETRY_NEVER || attempt->error->code == LDX_ERROR_CANCELLED;
}

/* Whether this run tries again, so that everything half done should stay. */
static bool goes_on(ldx_pg_attempt *attempt) {
  return may_go_on(attempt) && !ldx_context_cancelled(attempt->context);
}

/* Takes back a half-made constraint, which is what `definition` says (NULL: one of a name of ours), after a failure that
 * no retry will follow. */
static void take_back(ldx_pg_attempt *attempt, const char *constraint, const ldx_definition *definition,
                      const char *what) {
  ldx_error error;
  ldx_error_clear(&error);
  ldx_pg_attempt own = *attempt;
  own.error = &error;
  own.cleanup_limit = cleanup_limit;
  ldx_pg_thing thing;
  if (!ldx_pg_alive(attempt->session)) return;
  bool seen = ldx_pg_see_thing(&own, constraint, &thing);
  if (seen && !thing.constraint.type) return;
  PGresult *result = NULL;
  if (seen && ldx_pg_is_meant(&own, &thing, 0, definition)) {
    char *guard = ldx_pg_sql_guard(&own, &thing, NULL);
    char *sql = ldx_pg_sql_drop_constraint(attempt->arena, attempt->step, constraint, NULL, guard);
    result = ldx_pg_run(attempt->session, NULL, sql, cleanup_limit, &error);
  }
  if (result)
    ldx_context_note(attempt->context, "took back %s of %s", what, relation_display(attempt));
  else
    ldx_context_note(attempt->context, "%s of %s could not be taken back (%s): ALTER TABLE %s DROP CONSTRAINT %s", what,
                     relation_display(attempt), error.message,
                     ldx_pg_quote_name(attempt->arena, attempt->step->relation),
                     ldx_pg_quote_identifier(attempt->arena, constraint));
  PQclear(result);
}

/* --- unique constraints and primary keys ------------------------------------------------------------------------------ */

/* `*covered`: the check that is there is about all of them. */
static bool nullable_columns(ldx_pg_attempt *attempt, const char *oid, ldx_strings *out, bool *covered) {
  const ldx_definition *d = attempt->step->definition;
  const char **names = LDX_ARENA_NEW(attempt->arena, const char *, d->key_count + 1);
  for (size_t i = 0; i < d->key_count; i++) names[i] = d->keys[i].column;
  const char *values[] = {oid, ldx_pg_text_array(attempt->arena, d->key_count, names)};
  PGresult *r = ldx_pg_exec_params(attempt->session, ldx_sql_nullable_columns, 2, values, attempt->error);
  if (!r) return false;
  out->count = (size_t)PQntuples(r);
  out->items = LDX_ARENA_NEW(attempt->arena, const char *, out->count + 1);
  *covered = true;
  for (size_t i = 0; i < out->count; i++) {
    out->items[i] = ldx_arena_strdup(attempt->arena, PQgetvalue(r, (int)i, 0));
    *covered = *covered && *PQgetvalue(r, (int)i, 1) == 't';
  }
  PQclear(r);
  return true;
}

/* Proves that the columns hold no null; before the index is built, since that takes longer than to find one. */
static bool prove_not_null(ldx_pg_attempt *attempt, const ldx_pg_constraint_state *state, const ldx_strings *columns,
                           bool covered) {
  if (state->has_check && !covered) take_back(attempt, LDX_PG_NOT_NULL_CHECK, NULL, "an earlier check for nulls");
  bool there = state->has_check && covered;
  if (there && state->check_validated) return true;
  if (!there && !ldx_pg_send_in_slices(attempt, ldx_pg_sql_add_not_null_check(attempt->arena, attempt->step, columns)))
    return false;
  if (ldx_pg_send_in_slices(attempt, ldx_pg_sql_validate(attempt->arena, attempt->step, LDX_PG_NOT_NULL_CHECK)))
    return true;
  if (!strcmp(attempt->error->native, "23514")) {
    ldx_error_set(attempt->error, LDX_ERROR_INVALID_DEFINITION, "a column of the primary key holds nulls");
    strcpy(attempt->error->native, "23502");
    ldx_error_hint(attempt->error, "Fill them first; a backfill can do that.");
  }
  if (!goes_on(attempt)) take_back(attempt, LDX_PG_NOT_NULL_CHECK, NULL, "the temporary check for nulls");
  return false;
}

/* The index is what remains of a key that could not be made; it was not declared as such. */
static void drop_own_index(ldx_pg_attempt *attempt) {
  ldx_error error;
  ldx_error_clear(&error);
  ldx_name index = {.schema = attempt->step->relation.schema, .name = attempt->step->name};
  ldx_pg_attempt own = *attempt;
  own.error = &error;
  own.cleanup_limit = cleanup_limit;
  ldx_pg_index_state state;
  bool same = false;
  if (!ldx_pg_alive(attempt->session)) return;
  if (ldx_pg_see_index(&own, index.name, &state) && state.index && state.same_relation &&
      ldx_pg_compare(&own, attempt->step->definition, state.relation, index.name, LDX_PG_AS_INDEX, &same) && !same)
    return;
  char *sql = ldx_pg_sql_drop_index(attempt->arena, attempt->step, index, true, "");
  PGresult *result = same ? ldx_pg_run(attempt->session, NULL, sql, cleanup_limit, &error) : NULL;
  if (result)
    ldx_context_note(attempt->context, "dropped the index that was built for the key: %s",
                     ldx_pg_quote_name(attempt->arena, index));
  else
    ldx_context_note(attempt->context, "the index that was built for the key stays (%s): DROP INDEX CONCURRENTLY %s",
                     error.message, ldx_pg_quote_name(attempt->arena, index));
  PQclear(result);
}

/* What has to be true before a key is made; `nullable` gets the columns that are still to be marked not null. */
static bool prepare_key(ldx_pg_attempt *attempt, const ldx_pg_constraint_state *state, ldx_strings *nullable) {
  *nullable = (ldx_strings){0};
  if (attempt->step->definition->kind != LDX_KIND_PRIMARY_KEY) return true;
  bool covered;
  if (!nullable_columns(attempt, state->relation, nullable, &covered)) return false;
  if (nullable->count) return prove_not_null(attempt, state, nullable, covered);
  /* A check without columns to prove is what an attempt left that died at the very end. */
  if (state->has_check) take_back(attempt, LDX_PG_NOT_NULL_CHECK, NULL, "the temporary check for nulls");
  return true;
}

/* `old` (NULL: none) goes in the same transaction. */
static bool build_key_from_index(ldx_pg_attempt *attempt, const ldx_pg_constraint_state *state,
                                 const ldx_pg_thing *old) {
  const ldx_step *step = attempt->step;
  ldx_strings nullable;
  bool built = false;
  if (!prepare_key(attempt, state, &nullable)) return false;
  ldx_pg_thing base = {.name = step->use_existing ? step->other : step->name, .what = LDX_PG_NAMED_INDEX};
  bool same = false;
  bool ok = (step->use_existing || ldx_pg_build_index(attempt, base.name, &built)) &&
            ldx_pg_see_index(attempt, base.name, &base.index);
  if (ok && base.index.index && base.index.same_relation && base.index.valid)
    ok = ldx_pg_compare(attempt, step->definition, state->relation, base.name, LDX_PG_AS_INDEX, &same);
  if (ok && !same)
    ok = ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED,
                       "there is no valid index %s of %s that the key can be made from", base.name,
                       relation_display(attempt));
  char *marks = ok && old ? ldx_pg_sql_inherit_marks(attempt, step->name, base.name, true) : "";
  char *guard = ok ? ldx_pg_sql_guard(attempt, old, &base) : "";
  ok = ok && marks &&
       ldx_pg_send_guarded(attempt, ldx_pg_sql_add_key_using(attempt->arena, step, base.name, &nullable, guard, marks));
  if (ok || goes_on(attempt)) return ok;
  if (nullable.count) take_back(attempt, LDX_PG_NOT_NULL_CHECK, NULL, "the temporary check for nulls");
  if (built && !may_go_on(attempt)) drop_own_index(attempt);
  return false;
}

/* In one go. `old` (NULL: none) goes in the same transaction. */
static bool add_constraint(ldx_pg_attempt *attempt, const ldx_pg_constraint_state *state, const ldx_pg_thing *old) {
  ldx_step step = *attempt->step;
  ldx_strings nullable;
  step.replace = old != NULL;
  if (!prepare_key(attempt, state, &nullable)) return false;
  if (!step.only)
    ldx_context_note(attempt->context, "adds %s to %s in one go: reads and writes are blocked meanwhile", step.name,
                     relation_display(attempt));
  char *marks = old ? ldx_pg_sql_inherit_marks(attempt, step.name, NULL, true) : "";
  if (!marks) return false;
  char *guard = old ? ldx_pg_sql_guard(attempt, old, NULL) : "";
  if (old) ldx_pg_note_constraint_drop(attempt, step.name, state);
  if (ldx_pg_send_guarded(attempt, ldx_pg_sql_add_constraint(attempt->arena, &step, &nullable, guard, marks)))
    return true;
  if (nullable.count && !goes_on(attempt))
    take_back(attempt, LDX_PG_NOT_NULL_CHECK, NULL, "the temporary check for nulls");
  return false;
}

/* --- foreign keys ----------------------------------------------------------------------------------------------------- */

static bool validate(ldx_pg_attempt *attempt, bool added_now) {
  const ldx_step *step = attempt->step;
  if (ldx_pg_send_in_slices(attempt, ldx_pg_sql_validate(attempt->arena, step, step->name))) return true;
  if (added_now && !goes_on(attempt)) take_back(attempt, step->name, step->definition, "the unvalidated foreign key");
  return false;
}

static bool build_foreign_key(ldx_pg_attempt *attempt, const ldx_pg_constraint_state *state) {
  const ldx_step *step = attempt->step;
  bool enforced = !step->definition->not_enforced;
  if (state->type) return state->validated || !enforced || validate(attempt, false);
  bool partitioned = state->relation_kind == 'p';
  bool not_valid = enforced && (!partitioned || ldx_pg_version(attempt->session) >= 180000);
  if (enforced && !not_valid)
    ldx_context_note(attempt->context, "adds foreign key %s to partitioned %s in one go: writes are blocked meanwhile",
                     step->name, relation_display(attempt));
  if (!ldx_pg_send_in_slices(attempt, ldx_pg_sql_add_foreign_key(attempt->arena, step, not_valid))) return false;
  return !not_valid || validate(attempt, true);
}

/* --- replacing a key -------------------------------------------------------------------------------------------------- */

void ldx_pg_note_constraint_drop(ldx_pg_attempt *attempt, const char *name, const ldx_pg_constraint_state *state) {
  char *add = ldx_arena_printf(attempt->arena, "ALTER TABLE %s ADD CONSTRAINT %s %s",
                               ldx_pg_quote_name(attempt->arena, attempt->step->relation),
                               ldx_pg_quote_identifier(attempt->arena, name), state->definition);
  ldx_context_note(attempt->context, "drops constraint %s; to bring it back: %s", name,
                   ldx_pg_in_tablespace(attempt->arena, state->tablespace, add));
}

/* The old one goes and the new one comes in one statement, which gives the index the name of the constraint: while the
 * index has its own name, nothing has happened yet, and once it is gone, all has. */
static bool replace_key(ldx_pg_attempt *attempt, const ldx_pg_constraint_state *state, const ldx_pg_thing *old) {
  ldx_pg_index_state built;
  bool done = false;
  if (!ldx_pg_see_index(attempt, attempt->step->other, &built)) return false;
  if (!built.object && state->type == type_of(attempt->step->definition->kind) &&
      !ldx_pg_compare(attempt, attempt->step->definition, state->relation, attempt->step->name, LDX_PG_AS_CONSTRAINT,
                      &done))
    return false;
  if (done) return true;
  ldx_step step = *attempt->step;
  step.replace = old != NULL;
  ldx_pg_attempt own = *attempt;
  own.step = &step;
  if (old && !ldx_pg_is_meant(attempt, old, step.id, step.old)) return false;
  if (old) ldx_pg_note_constraint_drop(attempt, step.name, state);
  return build_key_from_index(&own, state, old);
}

/* --- all of them ------------------------------------------------------------------------------------------------------ */

bool ldx_pg_build_constraint(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  const ldx_definition *d = step->definition;
  ldx_pg_constraint_state state;
  if (!ldx_pg_see_constraint(attempt, step->name, &state)) return false;
  if (!state.relation) return missing_relation(attempt);
  const ldx_pg_thing there = {.name = step->name, .what = LDX_PG_NAMED_CONSTRAINT, .constraint = state};
  const ldx_pg_thing *old = step->replace && state.type ? &there : NULL;
  if (step->replace && step->use_existing) return replace_key(attempt, &state, old);
  bool right_kind = state.type == type_of(d->kind), right = false;
  if (right_kind && !ldx_pg_compare(attempt, d, state.relation, step->name, LDX_PG_AS_CONSTRAINT, &right)) return false;
  if (state.type && !right && !(right_kind && step->replace)) {
    ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_NAME, "%s has another constraint of the name %s: %s",
                  relation_display(attempt), step->name, state.definition);
    ldx_error_hint(attempt->error, "Declare another name.");
    return false;
  }
  if (d->kind == LDX_KIND_FOREIGN_KEY) return build_foreign_key(attempt, &state);
  if (right) return true;
  if (d->kind == LDX_KIND_PRIMARY_KEY && state.other_primary_key) {
    ldx_error_set(attempt->error, LDX_ERROR_INVALID_DEFINITION, "%s already has a primary key, %s",
                  relation_display(attempt), state.other_primary_key);
    return false;
  }
  if (!ldx_pg_check_duplicates(attempt)) return false;
  if (state.relation_kind == 'r' && !step->only && ldx_pg_key_can_use_index(d))
    return build_key_from_index(attempt, &state, NULL);
  return (!old || ldx_pg_is_meant(attempt, old, step->id, step->old)) && add_constraint(attempt, &state, old);
}

bool ldx_pg_validate_constraint(ldx_pg_attempt *attempt) {
  ldx_pg_constraint_state state;
  if (!ldx_pg_see_constraint(attempt, attempt->step->name, &state)) return false;
  if (!state.relation) return missing_relation(attempt);
  if (!state.type)
    return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s has no constraint %s", relation_display(attempt),
                         attempt->step->name);
  return state.validated || validate(attempt, false);
}

bool ldx_pg_drop_constraint(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_pg_thing thing;
  if (!ldx_pg_see_thing(attempt, step->name, &thing)) return false;
  if (!thing.constraint.type) return true;
  if (!ldx_pg_is_meant(attempt, &thing, step->id, step->definition)) return false;
  ldx_pg_note_constraint_drop(attempt, step->name, &thing.constraint);
  char *guard = ldx_pg_sql_guard(attempt, &thing, NULL);
  const ldx_strings *nullable = &step->nullable;
  bool ok = ldx_pg_send_guarded(attempt, ldx_pg_sql_drop_constraint(attempt->arena, step, step->name, nullable, guard));
  if (!ok && nullable->count && ldx_error_retry(attempt->error->code) == LDX_RETRY_NEVER &&
      attempt->error->code != LDX_ERROR_CANCELLED) {
    /* A partition may have a primary key of its own by now: a part that was finished. */
    nullable = NULL;
    ldx_error_clear(attempt->error);
    ok = ldx_pg_send_guarded(attempt, ldx_pg_sql_drop_constraint(attempt->arena, step, step->name, NULL, guard));
  }
  if (ok && thing.constraint.type == 'p' && !(nullable && nullable->count))
    ldx_context_note(
        attempt->context,
        "the columns of %s stay NOT NULL, as the primary key made them: ALTER TABLE %s ALTER COLUMN … DROP "
        "NOT NULL takes that back, too",
        step->name, ldx_pg_quote_name(attempt->arena, step->relation));
  return ok;
}
