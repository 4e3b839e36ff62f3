#include "canonical.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/distance.h"
#include "parse.h"
#include "render.h"
#include "text.h"

bool ldx_pg_refuse(ldx_arena *arena, ldx_declared *declared, ldx_error_code code, const char *message,
                   const char *hint) {
  declared->error = LDX_ARENA_NEW(arena, ldx_error, 1);
  ldx_error_set(declared->error, code, "%s", message);
  if (hint) ldx_error_hint(declared->error, "%s", hint);
  return false;
}

/* --- what is not there, and what is near it ------------------------------------------------------------------------ */

/* Schema and all where one was given, since that may be what is misspelt. */
static const char *near_relation(ldx_arena *arena, const ldx_catalog *catalog, ldx_name name) {
  const char *written = ldx_pg_display_name(arena, name);
  const char *best = NULL;
  size_t distance = 0;
  for (size_t i = 0; i < ldx_catalog_relation_count(catalog); i++) {
    const ldx_relation *relation = ldx_catalog_relation_at(catalog, i);
    const char *candidate = name.schema ? relation->display : relation->name.name;
    if (!ldx_distance_near(written, candidate)) continue;
    size_t edits = ldx_distance(written, candidate);
    if (!best || edits < distance) {
      best = relation->display;
      distance = edits;
    }
  }
  return best;
}

/* With the code that the server would give. */
static bool refuse_undefined(ldx_arena *arena, ldx_declared *declared, const char *sqlstate, const char *message,
                             const char *hint) {
  ldx_pg_refuse(arena, declared, LDX_ERROR_UNDEFINED, message, hint);
  snprintf(declared->error->native, sizeof declared->error->native, "%s", sqlstate);
  return false;
}

static bool no_relation(ldx_arena *arena, const ldx_catalog *catalog, ldx_declared *declared, ldx_name name) {
  const char *near = near_relation(arena, catalog, name);
  return refuse_undefined(arena, declared, "42P01",
                          ldx_arena_printf(arena, "relation %s does not exist", ldx_pg_display_name(arena, name)),
                          near ? ldx_arena_printf(arena, "Did you mean %s?", near)
                               : "Run the migration that creates it first, or take it out of the registry.");
}

static bool no_column(ldx_arena *arena, ldx_declared *declared, const ldx_relation *relation, const char *column) {
  const char *best = NULL;
  ldx_buffer all;
  ldx_buffer_init(&all, arena);
  for (size_t i = 0; i < relation->column_count; i++) {
    const char *name = relation->columns[i].name;
    ldx_buffer_appendf(&all, "%s%s", i > 0 ? ", " : "", name);
    best = ldx_distance_best(column, best, name);
  }
  const char *hint = best ? ldx_arena_printf(arena, "Did you mean \"%s\"?", best)
                          : ldx_arena_printf(arena, "Its columns are %s; for anything else write expr \"…\".",
                                             ldx_buffer_string(&all));
  return refuse_undefined(arena, declared, "42703",
                          ldx_arena_printf(arena, "column \"%s\" does not exist in %s", column, relation->display),
                          hint);
}

static bool check_columns(ldx_arena *arena, ldx_declared *declared, const ldx_relation *relation,
                          const ldx_strings *columns) {
  for (size_t i = 0; i < columns->count; i++)
    if (!ldx_relation_column(relation, columns->items[i]))
      return no_column(arena, declared, relation, columns->items[i]);
  return true;
}

/* --- parts -------------------------------------------------------------------------------------------------------- */

/* As dictionary.c names them: without pg_catalog, quoted only where it has to be. */
static const char *plain_notation(ldx_arena *arena, const char *text) {
  ldx_name name;
  if (!text || (!strchr(text, '.') && !strchr(text, '"')) || !ldx_pg_split_name(arena, text, &name)) return text;
  if (name.schema && strcmp(name.schema, "pg_catalog") == 0) name.schema = NULL;
  return ldx_pg_display_name(arena, name);
}

static bool canonicalize_keys(ldx_arena *arena, ldx_declared *declared, ldx_definition *canonical) {
  canonical->keys = LDX_ARENA_NEW(arena, ldx_key, canonical->key_count);
  for (size_t i = 0; i < canonical->key_count; i++) {
    ldx_key *key = &canonical->keys[i];
    *key = declared->definition->keys[i];
    if (key->column && !ldx_relation_column(declared->relation, key->column))
      return no_column(arena, declared, declared->relation, key->column);
    if (key->expression) key->expression = ldx_pg_strip_parentheses(arena, key->expression);
    key->opclass = plain_notation(arena, key->opclass);
    key->collation = plain_notation(arena, key->collation);
  }
  return true;
}

static const ldx_definition *primary_key_of(const ldx_relation *relation) {
  for (size_t i = 0; i < relation->live_count; i++)
    if (relation->live[i]->definition->kind == LDX_KIND_PRIMARY_KEY) return relation->live[i]->definition;
  return NULL;
}

/* A reference without columns means the other relation's primary key, be it live or declared in the same run: then the
 * columns are not known yet, and the definition stays as it is. */
static bool canonicalize_reference(ldx_arena *arena, const ldx_catalog *catalog, ldx_declared *declared,
                                   ldx_definition *canonical) {
  const ldx_relation *other = ldx_catalog_relation(catalog, canonical->references);
  if (!other) return no_relation(arena, catalog, declared, canonical->references);
  canonical->references = other->name;
  if (other->kind != 'r' && other->kind != 'p')
    return ldx_pg_refuse(arena, declared, LDX_ERROR_UNSUPPORTED,
                         ldx_arena_printf(arena, "%s is a %s: a foreign key can only reference a table", other->display,
                                          other->kind == 'm' ? "materialized view" : "foreign table"),
                         "Reference the table that its rows come from.");
  if (!check_columns(arena, declared, other, &canonical->references_columns) ||
      !check_columns(arena, declared, declared->relation, &canonical->on_delete_columns))
    return false;
  const ldx_definition *key = primary_key_of(other);
  if (canonical->references_columns.count == 0 && key) {
    ldx_strings columns = {key->key_count, LDX_ARENA_NEW(arena, const char *, key->key_count)};
    for (size_t i = 0; i < columns.count; i++) columns.items[i] = key->keys[i].column;
    canonical->references_columns = columns;
  }
  return true;
}

bool ldx_pg_canonicalize(ldx_arena *arena, const ldx_catalog *catalog, ldx_declared *declared) {
  declared->relation = ldx_catalog_relation(catalog, declared->definition->relation);
  if (!declared->relation) return no_relation(arena, catalog, declared, declared->definition->relation);
  ldx_definition *canonical = LDX_ARENA_NEW(arena, ldx_definition, 1);
  *canonical = *declared->definition;
  canonical->relation = declared->relation->name;
  declared->canonical = canonical;
  if (declared->relation->kind == 'f')
    return ldx_pg_refuse(arena, declared, LDX_ERROR_UNSUPPORTED,
                         ldx_arena_printf(arena, "%s is a foreign table: it cannot have indexes or keys of its own",
                                          declared->relation->display),
                         "Declare them where the table really is.");
  if (declared->relation->kind == 'm' && canonical->kind != LDX_KIND_INDEX)
    return ldx_pg_refuse(arena, declared, LDX_ERROR_UNSUPPORTED,
                         ldx_arena_printf(arena, "%s is a materialized view: it can have indexes, but no keys",
                                          declared->relation->display),
                         "Declare a unique index instead.");
  if (!canonicalize_keys(arena, declared, canonical) ||
      !check_columns(arena, declared, declared->relation, &canonical->include))
    return false;
  if (canonical->predicate) {
    canonical->predicate = ldx_pg_strip_parentheses(arena, canonical->predicate);
    canonical->predicate_form = ldx_pg_flat_chains(arena, canonical->predicate);
  }
  /* The server keeps it by a GiST index, whatever is declared. */
  if (canonical->without_overlaps && canonical->kind != LDX_KIND_FOREIGN_KEY) canonical->method = "gist";
  if (canonical->tablespace && strcmp(canonical->tablespace, "pg_default") == 0) canonical->tablespace = NULL;
  if (canonical->kind == LDX_KIND_FOREIGN_KEY && !canonicalize_reference(arena, catalog, declared, canonical))
    return false;
  declared->fingerprint = ldx_definition_fingerprint(canonical);
  return true;
}

bool ldx_pg_needs_server(const ldx_definition *definition) {
  if (definition->predicate) return true;
  for (size_t i = 0; i < definition->key_count; i++) {
    const ldx_key *key = &definition->keys[i];
    if (key->expression || key->opclass || key->collation || key->opclass_options.count > 0) return true;
  }
  return false;
}

/* --- without a server ---------------------------------------------------------------------------------------------- */

static const ldx_definition *spelled(ldx_arena *arena, const ldx_definition *declared) {
  ldx_definition *definition = LDX_ARENA_NEW(arena, ldx_definition, 1);
  *definition = *declared;
  if (declared->predicate) definition->predicate = ldx_pg_spelled(arena, declared->predicate);
  definition->keys = LDX_ARENA_NEW(arena, ldx_key, declared->key_count);
  for (size_t i = 0; i < declared->key_count; i++) {
    definition->keys[i] = declared->keys[i];
    if (declared->keys[i].expression)
      definition->keys[i].expression = ldx_pg_spelled(arena, declared->keys[i].expression);
  }
  return definition;
}

void ldx_pg_spell(ldx_declarations *set) {
  for (size_t i = 0; i < ldx_declarations_count(set); i++) {
    ldx_declared *declared = ldx_declarations_at(set, i);
    declared->canonical = declared->definition;
    if (ldx_pg_needs_server(declared->definition))
      declared->canonical = spelled(ldx_declarations_arena(set), declared->definition);
    declared->resolved = true;
  }
}
