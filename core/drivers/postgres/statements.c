#include "statements.h"

#include <string.h>

#include "base/buffer.h"
#include "render.h"

/* Seconds. Whoever comes after a statement that waits for a strong lock waits behind it, even to read. */
static const double longest_slice = 1;

static char *relation_of(ldx_arena *arena, const ldx_step *step) {
  return ldx_pg_quote_name(arena, step->relation);
}

/* An index lives in the schema of its relation. */
static char *index_of(ldx_arena *arena, const ldx_step *step, const char *name) {
  return ldx_pg_quote_name(arena, (ldx_name){.schema = step->relation.schema, .name = name});
}

/* Statements, separated by ";\n", as one transaction that asks for its locks for one slice (ldx_pg_send_in_slices). */
static char *in_slice(ldx_arena *arena, const ldx_step *step, const char *statements) {
  bool short_budget = step->lock_timeout > 0 && step->lock_timeout < longest_slice;
  long long ms = (long long)((short_budget ? step->lock_timeout : longest_slice) * 1000);
  return ldx_arena_printf(arena, "BEGIN;\nSET LOCAL lock_timeout = %lld;\n%s;\nCOMMIT", ms < 1 ? 1 : ms, statements);
}

char *ldx_pg_sql_build(ldx_arena *arena, const ldx_step *step, const char *name, bool blocking) {
  /* The declaration may leave the schema to the search path; the step has resolved it. */
  ldx_definition definition = *step->definition;
  definition.relation = step->relation;
  bool concurrently = !blocking && !step->only;
  char *sql =
      ldx_pg_build_sql(arena, &definition, name, concurrently ? LDX_MODE_CONCURRENT : LDX_MODE_BLOCKING, step->only);
  return concurrently ? sql : in_slice(arena, step, sql);
}

char *ldx_pg_sql_drop_index(ldx_arena *arena, const ldx_step *step, ldx_name index, bool concurrently,
                            const char *guard) {
  char *name = ldx_pg_quote_name(arena, index);
  if (concurrently) return ldx_arena_printf(arena, "DROP INDEX CONCURRENTLY %s", name);
  return in_slice(arena, step, ldx_arena_printf(arena, "%sDROP INDEX %s", guard, name));
}

static const char *deferral(const ldx_definition *definition) {
  if (!definition->deferrable) return "";
  return definition->initially_deferred ? " DEFERRABLE INITIALLY DEFERRED" : " DEFERRABLE";
}

/* ALTER COLUMN "a" SET NOT NULL, … */
static void append_each_column(ldx_buffer *b, ldx_arena *arena, const ldx_strings *columns, const char *action) {
  for (size_t i = 0; i < columns->count; i++)
    ldx_buffer_appendf(b, "%sALTER COLUMN %s %s", i ? ", " : "", ldx_pg_quote_identifier(arena, columns->items[i]),
                       action);
}

/* `statement`, in one transaction with what makes the columns of a primary key not null: the check constraint that
 * proves it goes with that. */
static char *with_not_null(ldx_arena *arena, const ldx_step *step, const ldx_strings *nullable, const char *guard,
                           const char *statement, const char *marks) {
  if (step->definition->kind != LDX_KIND_PRIMARY_KEY || !nullable || !nullable->count)
    return in_slice(arena, step, ldx_arena_printf(arena, "%s%s%s", guard, statement, marks));
  const char *relation = relation_of(arena, step);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_buffer_appendf(&b, "%sALTER TABLE %s ", guard, relation);
  append_each_column(&b, arena, nullable, "SET NOT NULL");
  ldx_buffer_appendf(&b, ";\n%s;\nALTER TABLE %s DROP CONSTRAINT " LDX_PG_NOT_NULL_CHECK "%s", statement, relation,
                     marks);
  return in_slice(arena, step, ldx_buffer_string(&b));
}

/* The constraint that has the name goes in the same statement. */
static const char *dropping(ldx_arena *arena, const ldx_step *step) {
  if (!step->replace) return "";
  return ldx_arena_printf(arena, "DROP CONSTRAINT %s, ", ldx_pg_quote_identifier(arena, step->name));
}

char *ldx_pg_sql_add_key_using(ldx_arena *arena, const ldx_step *step, const char *index, const ldx_strings *nullable,
                               const char *guard, const char *marks) {
  bool primary = step->definition->kind == LDX_KIND_PRIMARY_KEY;
  char *sql = ldx_arena_printf(arena, "ALTER TABLE %s %sADD CONSTRAINT %s %s USING INDEX %s%s",
                               relation_of(arena, step), dropping(arena, step),
                               ldx_pg_quote_identifier(arena, step->name), primary ? "PRIMARY KEY" : "UNIQUE",
                               ldx_pg_quote_identifier(arena, index), deferral(step->definition));
  return with_not_null(arena, step, nullable, guard, sql, marks);
}

char *ldx_pg_sql_add_constraint(ldx_arena *arena, const ldx_step *step, const ldx_strings *nullable, const char *guard,
                                const char *marks) {
  char *sql =
      ldx_arena_printf(arena, "ALTER TABLE %s%s %sADD CONSTRAINT %s %s", step->only ? "ONLY " : "",
                       relation_of(arena, step), dropping(arena, step), ldx_pg_quote_identifier(arena, step->name),
                       ldx_pg_constraint_sql(arena, step->definition));
  return with_not_null(arena, step, nullable, guard, sql, marks);
}

char *ldx_pg_sql_add_foreign_key(ldx_arena *arena, const ldx_step *step, bool not_valid) {
  char *sql = ldx_arena_printf(arena, "ALTER TABLE %s ADD CONSTRAINT %s %s%s", relation_of(arena, step),
                               ldx_pg_quote_identifier(arena, step->name),
                               ldx_pg_constraint_sql(arena, step->definition), not_valid ? " NOT VALID" : "");
  return in_slice(arena, step, sql);
}

char *ldx_pg_sql_add_not_null_check(ldx_arena *arena, const ldx_step *step, const ldx_strings *columns) {
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_buffer_appendf(&b, "ALTER TABLE %s ADD CONSTRAINT " LDX_PG_NOT_NULL_CHECK " CHECK (", relation_of(arena, step));
  for (size_t i = 0; i < columns->count; i++)
    ldx_buffer_appendf(&b, "%s%s IS NOT NULL", i ? " AND " : "", ldx_pg_quote_identifier(arena, columns->items[i]));
  ldx_buffer_append(&b, ") NOT VALID");
  return in_slice(arena, step, ldx_buffer_string(&b));
}

char *ldx_pg_sql_validate(ldx_arena *arena, const ldx_step *step, const char *constraint) {
  return in_slice(arena, step,
                  ldx_arena_printf(arena, "ALTER TABLE %s VALIDATE CONSTRAINT %s", relation_of(arena, step),
                                   ldx_pg_quote_identifier(arena, constraint)));
}

char *ldx_pg_sql_drop_constraint(ldx_arena *arena, const ldx_step *step, const char *constraint,
                                 const ldx_strings *nullable, const char *guard) {
  const char *relation = relation_of(arena, step);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_buffer_appendf(&b, "%sALTER TABLE %s DROP CONSTRAINT %s", guard, relation,
                     ldx_pg_quote_identifier(arena, constraint));
  if (nullable && nullable->count) {
    ldx_buffer_appendf(&b, ";\nALTER TABLE %s ", relation);
    append_each_column(&b, arena, nullable, "DROP NOT NULL");
  }
  return in_slice(arena, step, ldx_buffer_string(&b));
}

static char *rename_statement(ldx_arena *arena, const ldx_step *step, ldx_pg_named what, const char *from,
                              const char *to) {
  if (what == LDX_PG_NAMED_CONSTRAINT)
    return ldx_arena_printf(arena, "ALTER TABLE %s RENAME CONSTRAINT %s TO %s", relation_of(arena, step),
                            ldx_pg_quote_identifier(arena, from), ldx_pg_quote_identifier(arena, to));
  return ldx_arena_printf(arena, "ALTER INDEX %s RENAME TO %s", index_of(arena, step, from),
                          ldx_pg_quote_identifier(arena, to));
}

char *ldx_pg_sql_rename(ldx_arena *arena, const ldx_step *step, ldx_pg_named what, const char *guard,
                        const char *marks) {
  char *sql = rename_statement(arena, step, what, step->name, step->other);
  if (step->replace)
    sql = ldx_arena_printf(arena, "ALTER TABLE %s DROP CONSTRAINT %s;\n%s", relation_of(arena, step),
                           ldx_pg_quote_identifier(arena, step->other), sql);
  return in_slice(arena, step, ldx_arena_printf(arena, "%s%s%s", guard, sql, marks));
}

char *ldx_pg_sql_swap(ldx_arena *arena, const ldx_step *step, ldx_pg_named old, ldx_pg_named new, const char *marks) {
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  if (old != LDX_PG_NAMED_NOTHING)
    ldx_buffer_appendf(&b, "%s;\n", rename_statement(arena, step, old, step->name, step->spare));
  ldx_buffer_append(&b, rename_statement(arena, step, new, step->other, step->name));
  ldx_buffer_append(&b, marks);
  return in_slice(arena, step, ldx_buffer_string(&b));
}

char *ldx_pg_sql_attach(ldx_arena *arena, const ldx_step *step) {
  ldx_name child = {.schema = step->other_relation.schema, .name = step->other};
  return in_slice(arena, step,
                  ldx_arena_printf(arena, "ALTER INDEX %s ATTACH PARTITION %s", index_of(arena, step, step->name),
                                   ldx_pg_quote_name(arena, child)));
}

static const ldx_option *option_named(const ldx_options *options, const char *name) {
  for (size_t i = 0; i < options->count; i++)
    if (!strcmp(options->items[i].name, name)) return &options->items[i];
  return NULL;
}

char *ldx_pg_sql_alter(ldx_arena *arena, const ldx_step *step, const ldx_options *live) {
  const ldx_options *wanted = &step->definition->storage;
  const char *index = index_of(arena, step, step->name);
  ldx_buffer set, reset;
  ldx_buffer_init(&set, arena);
  ldx_buffer_init(&reset, arena);
  for (size_t i = 0; i < wanted->count; i++) {
    const ldx_option *option = &wanted->items[i], *has = option_named(live, option->name);
    if (has && ldx_option_equal(has, option)) continue;
    ldx_buffer_appendf(&set, "%s%s = %s", set.length ? ", " : "", ldx_pg_quote_identifier(arena, option->name),
                       ldx_pg_option_value(arena, option->value));
  }
  for (size_t i = 0; i < live->count; i++)
    if (!option_named(wanted, live->items[i].name))
      ldx_buffer_appendf(&reset, "%s%s", reset.length ? ", " : "", ldx_pg_quote_identifier(arena, live->items[i].name));
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  if (set.length) ldx_buffer_appendf(&b, "ALTER INDEX %s SET (%s)", index, ldx_buffer_string(&set));
  if (reset.length)
    ldx_buffer_appendf(&b, "%sALTER INDEX %s RESET (%s)", b.length ? ";\n" : "", index, ldx_buffer_string(&reset));
  return b.length ? in_slice(arena, step, ldx_buffer_string(&b)) : NULL;
}

bool ldx_pg_key_can_use_index(const ldx_definition *definition) {
  if (definition->kind != LDX_KIND_UNIQUE && definition->kind != LDX_KIND_PRIMARY_KEY) return false;
  return !definition->without_overlaps && !strcmp(definition->method, "btree");
}

/* --- describe ------------------------------------------------------------------------------------------------------- */

static char *describe_key(ldx_arena *arena, const ldx_step *step, bool blocking) {
  const ldx_strings *nullable = &step->nullable;
  const char *proof = "";
  if (nullable->count)
    proof = ldx_arena_printf(arena, "%s;\n%s;\n", ldx_pg_sql_add_not_null_check(arena, step, nullable),
                             ldx_pg_sql_validate(arena, step, LDX_PG_NOT_NULL_CHECK));
  if (step->only || step->partitioned || !ldx_pg_key_can_use_index(step->definition))
    return ldx_arena_printf(arena, "%s%s", proof, ldx_pg_sql_add_constraint(arena, step, nullable, "", ""));
  const char *index = step->use_existing ? step->other : step->name;
  const char *add = ldx_pg_sql_add_key_using(arena, step, index, nullable, "", "");
  if (step->use_existing) return ldx_arena_printf(arena, "%s%s", proof, add);
  return ldx_arena_printf(arena, "%s%s;\n%s", proof, ldx_pg_sql_build(arena, step, index, blocking), add);
}

static char *describe_build(ldx_arena *arena, const ldx_step *step) {
  const ldx_definition *d = step->definition;
  bool blocking = step->mode == LDX_MODE_BLOCKING;
  switch (d->kind) {
  case LDX_KIND_INDEX:
    break;
  case LDX_KIND_UNIQUE:
  case LDX_KIND_PRIMARY_KEY:
    return describe_key(arena, step, blocking);
  case LDX_KIND_EXCLUSION:
    return ldx_pg_sql_add_constraint(arena, step, NULL, "", "");
  case LDX_KIND_FOREIGN_KEY:
    if (d->not_enforced || step->partitioned) return ldx_pg_sql_add_foreign_key(arena, step, false);
    return ldx_arena_printf(arena, "%s;\n%s", ldx_pg_sql_add_foreign_key(arena, step, true),
                            ldx_pg_sql_validate(arena, step, step->name));
  }
  return ldx_pg_sql_build(arena, step, step->name, blocking);
}

char *ldx_pg_describe(ldx_arena *arena, const ldx_step *step) {
  ldx_name index = {.schema = step->relation.schema, .name = step->name};
  switch (step->kind) {
  case LDX_STEP_BUILD:
    return describe_build(arena, step);
  case LDX_STEP_ATTACH:
    return ldx_pg_sql_attach(arena, step);
  case LDX_STEP_DROP:
    return ldx_pg_sql_drop_index(arena, step, index, !step->only, "");
  case LDX_STEP_RENAME:
    return ldx_pg_sql_rename(arena, step,
                             step->definition && step->definition->kind == LDX_KIND_FOREIGN_KEY
                                 ? LDX_PG_NAMED_CONSTRAINT
                                 : LDX_PG_NAMED_INDEX,
                             "", "");
  case LDX_STEP_SWAP: {
    ldx_pg_named what = step->definition && step->definition->kind == LDX_KIND_FOREIGN_KEY ? LDX_PG_NAMED_CONSTRAINT
                                                                                           : LDX_PG_NAMED_INDEX;
    return ldx_pg_sql_swap(arena, step, what, what, "");
  }
  case LDX_STEP_ALTER: {
    ldx_options none = {0};
    char *options = ldx_pg_sql_alter(arena, step, &none);
    return options ? options : ldx_arena_strdup(arena, "");
  }
  case LDX_STEP_VALIDATE:
    return ldx_pg_sql_validate(arena, step, step->name);
  case LDX_STEP_AWAIT:
    break; /* it only looks */
  case LDX_STEP_DROP_CONSTRAINT:
    return ldx_pg_sql_drop_constraint(arena, step, step->name, &step->nullable, "");
  }
  return ldx_arena_strdup(arena, "");
}
