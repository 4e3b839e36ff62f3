/* perform.c: one attempt at a step. */
#include "perform.h"

#include <string.h>

#include "build.h"
#include "constraint.h"
#include "guard.h"
#include "marks.h"
#include "postgres_sql.h"
#include "render.h"
#include "statements.h"

enum { LONGEST_NAME = 63 };

/* The server would cut a longer name, with no more than a notice. */
static bool check_name(ldx_pg_attempt *attempt, const char *name, bool required) {
  if (!name || !*name) {
    if (!required) return true;
    return ldx_error_set(attempt->error, LDX_ERROR_USAGE, "the step lacks a name");
  }
  if (strlen(name) <= LONGEST_NAME) return true;
  ldx_error_set(attempt->error, LDX_ERROR_INVALID_DEFINITION, "the name %s is longer than %d bytes", name,
                LONGEST_NAME);
  ldx_error_hint(attempt->error, "Declare a shorter name.");
  return false;
}

static bool nothing_on(ldx_pg_attempt *attempt, ldx_name relation, const char *name) {
  return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s has no index or constraint %s",
                       ldx_pg_display_name(attempt->arena, relation), name);
}

static bool nothing_named(ldx_pg_attempt *attempt, const char *name) {
  return nothing_on(attempt, attempt->step->relation, name);
}

/* Whether an attempt whose answer was lost has done it: then `thing` is what the name was to go to. */
static bool done_already(ldx_pg_attempt *attempt, const ldx_pg_thing *thing, uint32_t id, const char *missing) {
  bool there = thing->what != LDX_PG_NAMED_NOTHING;
  if (there && ldx_pg_is_meant(attempt, thing, id, attempt->step->definition)) return true;
  return there && attempt->error->code != LDX_ERROR_DEPENDENT ? false : nothing_named(attempt, missing);
}

/* Whether what is to take a place is what was built for it, and of use. */
static bool may_take_place(ldx_pg_attempt *attempt, const ldx_pg_thing *thing) {
  const ldx_definition *definition = attempt->step->definition;
  if (!ldx_pg_is_meant(attempt, thing, 0, definition)) return false;
  bool of_use = thing->what == LDX_PG_NAMED_INDEX ? thing->index.valid : thing->constraint.validated;
  if (of_use || !definition || definition->not_enforced) return true;
  return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s is not valid any more: it takes nobody's place",
                       thing->name);
}

static bool rename_it(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  const uint32_t id = step->replace ? 0 : step->id;
  ldx_pg_thing from, to;
  if (!check_name(attempt, step->other, true) || !ldx_pg_see_thing(attempt, step->name, &from) ||
      !ldx_pg_see_thing(attempt, step->other, &to))
    return false;
  if (from.what == LDX_PG_NAMED_NOTHING) return done_already(attempt, &to, id, step->name);
  ldx_step now = *step;
  now.replace = step->replace && to.constraint.type;
  if (step->replace ? !may_take_place(attempt, &from) : !ldx_pg_is_meant(attempt, &from, id, step->definition))
    return false;
  if (now.replace && !ldx_pg_is_meant(attempt, &to, step->id, step->old)) return false;
  bool has_index = now.replace && to.constraint.type != 'f';
  bool key = step->definition && step->definition->kind != LDX_KIND_INDEX;
  char *marks = has_index ? ldx_pg_sql_inherit_marks(attempt, step->other, step->name, key) : "";
  if (!marks) return false;
  marks = ldx_arena_printf(attempt->arena, "%s%s", marks, ldx_pg_sql_see_renamed(attempt->arena, &from, step->other));
  char *guard = now.replace ? ldx_pg_sql_guard(attempt, &to, NULL) : "";
  if (now.replace) ldx_pg_note_constraint_drop(attempt, step->other, &to.constraint);
  return ldx_pg_send_guarded(attempt, ldx_pg_sql_rename(attempt->arena, &now, from.what, guard, marks));
}

static bool swap(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_pg_thing old, new, spare;
  if (!check_name(attempt, step->other, true) || !check_name(attempt, step->spare, true)) return false;
  if (!ldx_pg_see_thing(attempt, step->name, &old) || !ldx_pg_see_thing(attempt, step->other, &new) ||
      !ldx_pg_see_thing(attempt, step->spare, &spare))
    return false;
  /* Both renames are one transaction: `other` gone and `name` what it was means that it was committed. */
  if (new.what == LDX_PG_NAMED_NOTHING) return done_already(attempt, &old, 0, step->other);
  if (spare.what != LDX_PG_NAMED_NOTHING)
    return ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_NAME, "%s is in the way: %s cannot be called so",
                         step->spare, step->name);
  bool gives_way = old.what != LDX_PG_NAMED_NOTHING;
  if (!may_take_place(attempt, &new) || (gives_way && !ldx_pg_is_meant(attempt, &old, step->id, step->old)))
    return false;
  char *marks = ldx_pg_sql_inherit_marks(attempt, step->name, step->other, false);
  if (!marks) return false;
  marks = ldx_arena_printf(attempt->arena, "%s%s%s", marks,
                           gives_way ? ldx_pg_sql_see_renamed(attempt->arena, &old, step->spare) : "",
                           ldx_pg_sql_see_renamed(attempt->arena, &new, step->name));
  return ldx_pg_send_guarded(attempt, ldx_pg_sql_swap(attempt->arena, step, old.what, new.what, marks));
}

static bool attach(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_pg_index_state parent, child;
  if (!ldx_pg_see_index(attempt, step->name, &parent) ||
      !ldx_pg_see_index_of(attempt, step->other_relation, step->other, &child))
    return false;
  if (!parent.index) return nothing_named(attempt, step->name);
  if (!child.index) return nothing_on(attempt, step->other_relation, step->other);
  if (child.parent && !strcmp(child.parent, parent.object)) return true;
  return ldx_pg_send_in_slices(attempt, ldx_pg_sql_attach(attempt->arena, step));
}

/* A partitioned index becomes valid with the last partition that is attached. */
static bool verify(ldx_pg_attempt *attempt) {
  static const char lacking[] =
      "SELECT pg_catalog.string_agg(c.oid::pg_catalog.regclass::text, ', ' ORDER BY c.relname)"
      " FROM pg_catalog.pg_inherits h JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid"
      " WHERE h.inhparent = $1::pg_catalog.oid AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i"
      " JOIN pg_catalog.pg_inherits a ON a.inhrelid = i.indexrelid AND a.inhparent = $2::pg_catalog.oid"
      " WHERE i.indrelid = c.oid AND i.indisvalid)";
  const ldx_step *step = attempt->step;
  ldx_pg_index_state state;
  if (!ldx_pg_see_index(attempt, step->name, &state)) return false;
  if (!state.index || !state.same_relation) return nothing_named(attempt, step->name);
  if (state.valid) return true;
  const char *values[] = {state.relation, state.object};
  PGresult *r = ldx_pg_exec_params(attempt->session, lacking, 2, values, attempt->error);
  if (!r) return false;
  const char *which = PQntuples(r) == 1 && !PQgetisnull(r, 0, 0) ? PQgetvalue(r, 0, 0) : "none it knows of";
  ldx_error_set(attempt->error, LDX_ERROR_SERVER, "%s is not valid yet; partitions without a valid part of it: %s",
                step->name, which);
  ldx_error_hint(attempt->error, "A partition that was attached meanwhile is the next run's; where a part is attached "
                                 "but invalid, the whole has to be dropped and built anew.");
  PQclear(r);
  return false;
}

static bool alter(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_pg_thing thing;
  if (!ldx_pg_see_thing(attempt, step->name, &thing)) return false;
  if (thing.what != LDX_PG_NAMED_INDEX) return nothing_named(attempt, step->name);
  if (!ldx_pg_is_meant(attempt, &thing, step->id, step->old)) return false;
  char *sql = ldx_pg_sql_alter(attempt->arena, step, &thing.index.options);
  return !sql || ldx_pg_send_in_slices(attempt, sql);
}

/* Whether the step is about a partition that has been detached, or dropped, meanwhile: then there is nothing to do. */
static bool no_partition_any_more(ldx_pg_attempt *attempt) {
  static const char of_whole[] =
      "select from pg_catalog.pg_inherits h join pg_catalog.pg_class p on p.oid = h.inhrelid"
      " join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace join pg_catalog.pg_class w on w.oid = h.inhparent"
      " join pg_catalog.pg_namespace wn on wn.oid = w.relnamespace"
      " where pn.nspname = $1 and p.relname = $2 and wn.nspname = $3 and w.relname = $4";
  const ldx_step *step = attempt->step;
  if ((step->kind != LDX_STEP_ATTACH && step->kind != LDX_STEP_BUILD) || !step->other_relation.name) return false;
  bool attaches = step->kind == LDX_STEP_ATTACH;
  ldx_name part = attaches ? step->other_relation : step->relation,
           whole = attaches ? step->relation : step->other_relation;
  const char *values[] = {part.schema, part.name, whole.schema, whole.name};
  ldx_error ignored;
  bool may_be_detaching = ldx_pg_version(attempt->session) >= 140000;
  char *sql = ldx_arena_printf(attempt->arena, "%s%s", of_whole, may_be_detaching ? " and not h.inhdetachpending" : "");
  PGresult *r = ldx_pg_exec_params(attempt->session, sql, 4, values, &ignored);
  bool gone = r && PQntuples(r) == 0;
  PQclear(r);
  if (gone)
    ldx_context_note(attempt->context, "%s is no partition of %s any more: it is left out",
                     ldx_pg_display_name(attempt->arena, part), ldx_pg_display_name(attempt->arena, whole));
  return gone;
}

static bool dispatch(ldx_pg_attempt *attempt) {
  const ldx_step *step = attempt->step;
  if (!step->relation.schema || !step->relation.name)
    return ldx_error_set(attempt->error, LDX_ERROR_USAGE, "the step's relation lacks its schema or name");
  /* What exists may be named as it likes; what we name must fit. */
  if (!check_name(attempt, step->name, true)) return false;
  switch (step->kind) {
  case LDX_STEP_BUILD:
    if (step->definition->kind != LDX_KIND_INDEX) return ldx_pg_build_constraint(attempt);
    return ldx_pg_build_index(attempt, step->name, NULL);
  case LDX_STEP_ATTACH:
    return attach(attempt);
  case LDX_STEP_DROP:
    return ldx_pg_drop_index(attempt);
  case LDX_STEP_RENAME:
    return rename_it(attempt);
  case LDX_STEP_SWAP:
    return swap(attempt);
  case LDX_STEP_ALTER:
    return alter(attempt);
  case LDX_STEP_VALIDATE:
    return ldx_pg_validate_constraint(attempt);
  case LDX_STEP_AWAIT:
    return verify(attempt);
  case LDX_STEP_DROP_CONSTRAINT:
    return ldx_pg_drop_constraint(attempt);
  }
  return ldx_error_set(attempt->error, LDX_ERROR_INTERNAL, "unknown kind of step");
}

bool ldx_pg_perform(ldx_session *session, const ldx_step *step, ldx_context *context, ldx_error *error) {
  ldx_error own;
  ldx_pg_attempt attempt = {
      .session = session,
      .step = step,
      .context = context,
      .arena = ldx_arena_new(),
      .error = error ? error : &own,
  };
  ldx_error_clear(attempt.error);
  ldx_pg_listen(session, context);
  bool ok = dispatch(&attempt);
  /* Between look and statement somebody may have done just that: an attempt before this one, whose statement still stood
   * in the server's queue when its link was lost. What a function of the index misses is no matter of that. */
  bool lacking = attempt.error->code == LDX_ERROR_UNDEFINED && !*attempt.error->context;
  if (!ok && (attempt.error->code == LDX_ERROR_DUPLICATE_NAME || lacking)) {
    ldx_error_clear(attempt.error);
    ok = dispatch(&attempt);
  }
  if (!ok && ldx_error_retry(attempt.error->code) == LDX_RETRY_NEVER && !ldx_context_cancelled(context) &&
      ldx_pg_alive(session) && no_partition_any_more(&attempt))
    ok = true;
  ldx_pg_listen(session, NULL);
  if (ok) ldx_error_clear(attempt.error);
  ldx_arena_free(attempt.arena);
  return ok;
}
