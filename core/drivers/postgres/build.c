/* build.c: one index is built, or dropped, whatever happens.
 *
 * Both first look at what is there. A valid index of that name on that relation is the work of an attempt whose answer
 * was lost; an invalid one is either under construction by somebody (a server process goes on after its client died),
 * and then it is waited for, or a leftover, and then it is dropped. IF NOT EXISTS is never sent: it reports success over
 * an invalid index.
 *
 * A build or drop that has begun and then waits for other sessions cannot be cancelled without leaving something
 * invalid, so both wait for old transactions on the table before they begin.
 */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "build.h"
#include "duplicates.h"
#include "guard.h"
#include "render.h"
#include "text.h"

/* A table of at most so many bytes is locked for milliseconds by a plain build. */
enum { TINY = 65536 };
/* How long a plain build may stand in the queue before the concurrent way is taken instead. */
static const double tiny_lock_timeout = 1;
/* For cleaning up: after a failure; and when somebody waits for the program to end, or when whoever kept the build from
 * its lock most likely keeps the drop from it, too. */
static const double cleanup_limit = 30, hurried_cleanup_limit = 5;
/* Seconds after which a wait for somebody's build is told again. */
static const double reminder = 60;

static const char *display(ldx_pg_attempt *attempt, const char *name) {
  return ldx_pg_display_name(attempt->arena, (ldx_name){.schema = attempt->step->relation.schema, .name = name});
}

static const char *relation_display(ldx_pg_attempt *attempt) {
  return ldx_pg_display_name(attempt->arena, attempt->step->relation);
}

/* --- what is there ---------------------------------------------------------------------------------------------------- */

static bool taken(ldx_pg_attempt *attempt, const char *name, const ldx_pg_index_state *state) {
  const char *what = !state->index           ? "something that is not an index"
                     : !state->same_relation ? "an index of another relation"
                                             : "an index with another definition";
  ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_NAME, "the name %s belongs to %s", display(attempt, name), what);
  if (state->definition) snprintf(attempt->error->detail, sizeof attempt->error->detail, "%s", state->definition);
  ldx_error_hint(attempt->error, "Declare another name.");
  return false;
}

/* Looks until nobody is building the index any more. */
static bool settle(ldx_pg_attempt *attempt, const char *name, ldx_pg_index_state *state) {
  int64_t told = 0;
  double told_at = 0;
  /* Somebody else's build takes as long as it takes; our lock budget is not about that. */
  for (;;) {
    if (!ldx_pg_see_index(attempt, name, state)) return false;
    if (!state->relation) {
      ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "relation %s does not exist", relation_display(attempt));
      return false;
    }
    if (!state->index || state->valid || !state->builder) return true;
    if (told != state->builder || ldx_clock_now() - told_at > reminder) {
      ldx_context_note(attempt->context, "%s is being built by %s (%s): waiting for it", display(attempt, name),
                       state->builder_who, state->builder_phase);
      told = state->builder, told_at = ldx_clock_now();
    }
    if (ldx_context_cancelled(attempt->context)) {
      ldx_error_set(attempt->error, LDX_ERROR_CANCELLED, "cancelled");
      return false;
    }
    ldx_clock_sleep(0.25);
  }
}

/* pg_get_indexdef says ON ONLY of a partitioned index; with it go those of the partitions, so that the way back is to
 * build on all of them. */
static const char *way_back(ldx_arena *arena, const ldx_pg_index_state *state) {
  const char *definition = state->definition;
  static const char create[] = "CREATE ", unique[] = "UNIQUE ", index[] = "INDEX ", only[] = " ON ONLY ";
  const char *p = definition + strlen(create);
  if (!strncmp(p, unique, strlen(unique))) p += strlen(unique);
  p = ldx_pg_token_end(p + strlen(index));
  if (!strncmp(p, only, strlen(only)))
    definition = ldx_arena_printf(arena, "%.*s ON %s", (int)(p - definition), definition, p + strlen(only));
  return ldx_pg_in_tablespace(arena, state->tablespace, definition);
}

/* --- leftovers -------------------------------------------------------------------------------------------------------- */

static bool drop_invalid(ldx_pg_attempt *attempt, const char *name, const ldx_pg_index_state *state) {
  ldx_name index = {.schema = attempt->step->relation.schema, .name = name};
  if (!ldx_pg_wait_for_table(attempt, state->relation, true)) return false;
  ldx_context_note(attempt->context, "drops the invalid leftover %s; to bring it back: %s", display(attempt, name),
                   way_back(attempt->arena, state));
  bool concurrently = state->object_kind == 'i';
  const char *guard =
      concurrently ? "" : ldx_pg_sql_guard(attempt, &(ldx_pg_thing){.name = name, .index = *state}, NULL);
  const char *sql = ldx_pg_sql_drop_index(attempt->arena, attempt->step, index, concurrently, guard);
  return concurrently ? ldx_pg_send(attempt, sql) : ldx_pg_send_guarded(attempt, sql);
}

/* What relation `oid` is called now: it may have been renamed, or moved to another schema, since the build began. */
static bool current_name(ldx_pg_attempt *attempt, const char *oid, ldx_name *name) {
  static const char sql[] = "select n.nspname, c.relname from pg_catalog.pg_class c join pg_catalog.pg_namespace n"
                            " on n.oid = c.relnamespace where c.oid = $1::pg_catalog.oid";
  PGresult *r = ldx_pg_exec_params(attempt->session, sql, 1, &oid, attempt->error);
  bool found = r && PQntuples(r) == 1;
  if (found)
    *name = (ldx_name){.schema = ldx_arena_strdup(attempt->arena, PQgetvalue(r, 0, 0)),
                       .name = ldx_arena_strdup(attempt->arena, PQgetvalue(r, 0, 1))};
  PQclear(r);
  return found;
}

/* Drops what a build of relation `oid` that failed left invalid under that name, and nobody is at, for at most `limit`
 * seconds; tells about it. It ignores cancellation and has its own error. */
static void drop_leftover(ldx_pg_attempt *attempt, const char *oid, const char *name, double limit) {
  ldx_error error;
  ldx_error_clear(&error);
  ldx_pg_attempt own = *attempt;
  own.error = &error;
  own.cleanup_limit = limit;
  ldx_pg_index_state state;
  ldx_name relation;
  if (!ldx_pg_alive(attempt->session) || !current_name(&own, oid, &relation)) return;
  if (!ldx_pg_see_index_of(&own, relation, name, &state)) return;
  if (!state.index || state.valid || !state.same_relation || state.builder || state.object_kind != 'i') return;
  ldx_name index = {.schema = relation.schema, .name = name};
  char *shown = ldx_pg_display_name(attempt->arena, index);
  PGresult *result = ldx_pg_run(attempt->session, NULL,
                                ldx_pg_sql_drop_index(attempt->arena, attempt->step, index, true, ""), limit, &error);
  if (result)
    ldx_context_note(attempt->context, "dropped what the failed build left invalid: %s; to bring it back: %s", shown,
                     way_back(attempt->arena, &state));
  else
    ldx_context_note(
        attempt->context,
        "the failed build left %s invalid and it could not be dropped now (%s); the next attempt does, or: "
        "DROP INDEX CONCURRENTLY %s",
        shown, error.message, ldx_pg_quote_name(attempt->arena, index));
  PQclear(result);
}

/* --- building --------------------------------------------------------------------------------------------------------- */

static bool is_tiny(ldx_pg_attempt *attempt, const char *oid) {
  ldx_error ignored;
  char *sql = ldx_arena_printf(attempt->arena, "SELECT pg_catalog.pg_relation_size(%s) <= %d", oid, TINY);
  /* The size is read under a lock: who does not get it at once has no table to lock plainly either. */
  PGresult *result = ldx_pg_run(attempt->session, attempt->context, sql, tiny_lock_timeout, &ignored);
  bool tiny = result && PQntuples(result) == 1 && *PQgetvalue(result, 0, 0) == 't';
  PQclear(result);
  return tiny;
}

/* Settings for this build only. */
static bool set_memory(ldx_pg_attempt *attempt, bool set) {
  const ldx_step *step = attempt->step;
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  if (step->maintenance_work_mem) {
    if (set)
      ldx_buffer_appendf(&b, "SET maintenance_work_mem = %s;",
                         ldx_pg_quote_literal(attempt->arena, step->maintenance_work_mem));
    else
      ldx_buffer_append(&b, "RESET maintenance_work_mem;");
  }
  if (step->parallel_workers >= 0) {
    if (set)
      ldx_buffer_appendf(&b, "SET max_parallel_maintenance_workers = %d;", step->parallel_workers);
    else
      ldx_buffer_append(&b, "RESET max_parallel_maintenance_workers;");
  }
  if (!b.length) return true;
  return ldx_pg_do(attempt->session, ldx_buffer_string(&b), set ? attempt->error : NULL);
}

/* A build fails in a function, of the index or of an event trigger, whose words alone do not say so. */
static void tell_function(ldx_pg_attempt *attempt) {
  ldx_error *error = attempt->error;
  if (!*error->context || !strcmp(error->context, "parallel worker")) return;
  bool lacks = error->code == LDX_ERROR_UNDEFINED && ldx_pg_version(attempt->session) >= 170000;
  if (*error->hint && !lacks) return;
  ldx_error_hint(error, "It happened here: %s.%s", error->context,
                 lacks
                     ? " Since PostgreSQL 17 the functions of an index see no schemas but pg_catalog and pg_temp while "
                       "it is built: qualify what they use, or ALTER FUNCTION … SET search_path."
                     : "");
}

/* One CREATE INDEX. */
static bool create(ldx_pg_attempt *attempt, const char *name, const ldx_pg_index_state *state) {
  const ldx_step *step = attempt->step;
  ldx_arena *arena = attempt->arena;
  bool partitioned = state->relation_kind == 'p';
  ldx_context_builds(attempt->context);
  if (partitioned && !step->only)
    ldx_context_note(
        attempt->context,
        "puts %s together from the parts that are there, and builds those that are not: writes are blocked meanwhile",
        display(attempt, name));
  if (partitioned || step->only || step->mode == LDX_MODE_BLOCKING)
    return ldx_pg_send_in_slices(attempt, ldx_pg_sql_build(arena, step, name, true));
  if (step->mode == LDX_MODE_AUTO && is_tiny(attempt, state->relation)) {
    if (ldx_pg_send(attempt, ldx_pg_sql_build(arena, step, name, true))) return true;
    if (attempt->error->code != LDX_ERROR_LOCK_TIMEOUT || ldx_context_over_budget(attempt->context)) return false;
    ldx_error_clear(attempt->error);
  }
  if (!ldx_pg_wait_for_table(attempt, state->relation, false)) return false;
  return ldx_pg_send(attempt, ldx_pg_sql_build(arena, step, name, false));
}

bool ldx_pg_build_index(ldx_pg_attempt *attempt, const char *name, bool *built) {
  ldx_pg_index_state state;
  if (built) *built = false;
  if (!settle(attempt, name, &state)) return false;
  if (state.object) {
    if (!state.index || !state.same_relation) return taken(attempt, name, &state);
    /* The parent of partitioned ones stays invalid until all partitions are attached: that is not for this step. */
    if (state.valid || state.object_kind == 'I') {
      bool same;
      return ldx_pg_compare(attempt, attempt->step->definition, state.relation, name, LDX_PG_AS_INDEX, &same) &&
             (same || taken(attempt, name, &state));
    }
    if (!drop_invalid(attempt, name, &state)) return false;
  }
  if (!ldx_pg_check_duplicates(attempt)) return false;
  if (!set_memory(attempt, true)) return false;
  bool ok = create(attempt, name, &state);
  if (ok && built) *built = true;
  const char *oid = state.relation;
  if (ldx_pg_alive(attempt->session)) set_memory(attempt, false);
  if (!ok) {
    bool hurry = attempt->error->code == LDX_ERROR_LOCK_TIMEOUT || attempt->error->code == LDX_ERROR_DEADLOCK ||
                 ldx_context_cancelled(attempt->context);
    if (attempt->error->code != LDX_ERROR_DUPLICATE_NAME)
      drop_leftover(attempt, oid, name, hurry ? hurried_cleanup_limit : cleanup_limit);
    if (attempt->error->code == LDX_ERROR_DUPLICATE_KEY) ldx_pg_explain_duplicates(attempt);
    tell_function(attempt);
    return false;
  }
  if (!ldx_pg_see_index(attempt, name, &state)) return false;
  if (!state.index) {
    ldx_error_set(attempt->error, LDX_ERROR_SERVER, "%s was built, and has been renamed or dropped by somebody since",
                  display(attempt, name));
    ldx_error_hint(attempt->error, "The next run looks at what is there.");
    return false;
  }
  if (!state.valid && state.object_kind == 'i') {
    ldx_error_set(attempt->error, LDX_ERROR_INTERNAL, "%s is not valid after a build that the server reported as done",
                  display(attempt, name));
    return false;
  }
  return true;
}

/* --- dropping --------------------------------------------------------------------------------------------------------- */

/* Looks at what is to go once nobody is at it; `gone`: there is nothing. False also where it is not what was planned to
 * go: that was decided about another index, or about one that was of no use. */
static bool see_doomed(ldx_pg_attempt *attempt, ldx_pg_thing *thing, bool *gone) {
  const ldx_step *step = attempt->step;
  ldx_pg_index_state *state = &thing->index;
  *thing = (ldx_pg_thing){.name = step->name, .what = LDX_PG_NAMED_INDEX};
  if (!settle(attempt, step->name, state)) return false;
  *gone = !state->object;
  if (*gone) return true;
  if (!state->index || !state->same_relation)
    return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s is not an index of %s", display(attempt, step->name),
                         relation_display(attempt));
  if (!ldx_pg_see_constraint(attempt, step->name, &thing->constraint) ||
      !ldx_pg_is_meant(attempt, thing, step->id, step->definition))
    return false;
  if (!(step->only_invalid && state->valid)) return true;
  ldx_error_set(attempt->error, LDX_ERROR_DEPENDENT, "%s is valid since it was looked at: it stays",
                display(attempt, step->name));
  ldx_error_hint(attempt->error, "The next run looks at it anew.");
  return false;
}

bool ldx_pg_drop_index(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_pg_thing thing;
  bool gone;
  if (!see_doomed(attempt, &thing, &gone)) return false;
  if (gone) return true;
  ldx_pg_index_state state = thing.index;
  bool concurrently = state.object_kind == 'i' && !state.parent;
  ldx_name index = {.schema = step->relation.schema, .name = step->name};
  if (concurrently) {
    if (!ldx_pg_wait_for_table(attempt, state.relation, true) || !see_doomed(attempt, &thing, &gone)) return false;
    if (gone) return true;
    state = thing.index;
  }
  bool was_valid = state.valid;
  /* Before it goes: whoever is cut off from the answer has to know as well. */
  ldx_context_note(attempt->context, "drops %s; to bring it back: %s", display(attempt, step->name),
                   way_back(attempt->arena, &state));
  const char *guard = concurrently ? "" : ldx_pg_sql_guard(attempt, &thing, NULL);
  const char *sql = ldx_pg_sql_drop_index(attempt->arena, step, index, concurrently, guard);
  if (concurrently ? ldx_pg_send(attempt, sql) : ldx_pg_send_guarded(attempt, sql)) return true;
  ldx_error ignored;
  ldx_pg_attempt own = *attempt;
  own.error = &ignored;
  own.cleanup_limit = hurried_cleanup_limit;
  if (concurrently && was_valid && ldx_pg_alive(attempt->session) && ldx_pg_see_index(&own, step->name, &state) &&
      state.index && !state.valid)
    ldx_context_note(
        attempt->context,
        "the drop of %s was interrupted half-way: no query uses it any more; the next attempt finishes it, "
        "or: DROP INDEX CONCURRENTLY %s",
        display(attempt, step->name), ldx_pg_quote_name(attempt->arena, index));
  return false;
}
