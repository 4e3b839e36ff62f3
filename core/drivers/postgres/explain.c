/* DESIGN
 *
 * The server says what it does not know, but not what is near it, and its texts may be translated. So the names in a
 * refused definition are looked up here, in the order in which the server does: the first that does not exist is what
 * was refused.
 */
#include "explain.h"

#include <string.h>

#include "base/buffer.h"
#include "base/distance.h"
#include "render.h"

void ldx_pg_explain_missing(ldx_session *session, ldx_arena *arena, ldx_declared *declared) {
  const char *values[] = {ldx_pg_quote_name(arena, declared->definition->relation)};
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
                ldx_pg_display_name(arena, declared->definition->relation), what);
  ldx_error_hint(declared->error, "Tables, partitioned tables and materialized views can.");
}

/* --- names of the server ------------------------------------------------------------------------------------------ */

/* Each gives schema (null: has none), name, and whether it is found without its schema. */
static const char methods[] = "select null, a.amname, true from pg_catalog.pg_am a where a.amtype = 'i' order by 2";
static const char opclasses[] = "select n.nspname, o.opcname, pg_catalog.pg_opclass_is_visible(o.oid)"
                                "  from pg_catalog.pg_opclass o"
                                "  join pg_catalog.pg_namespace n on n.oid = o.opcnamespace"
                                "  join pg_catalog.pg_am a on a.oid = o.opcmethod and a.amname = $1"
                                " order by 1, 2";
static const char collations[] = "select n.nspname, c.collname, pg_catalog.pg_collation_is_visible(c.oid)"
                                 "  from pg_catalog.pg_collation c"
                                 "  join pg_catalog.pg_namespace n on n.oid = c.collnamespace"
                                 " where c.collencoding in (-1, (select d.encoding from pg_catalog.pg_database d"
                                 "                                where d.datname = pg_catalog.current_database()))"
                                 " order by 1, 2";

typedef struct answer {
  bool known;
  const char *nearest; /* in registry notation; NULL: none is near */
  const char *all;     /* likewise, for people */
} answer;

/* False if the server cannot say. */
static bool look_up(ldx_session *session, ldx_arena *arena, const char *sql, const char *parameter, const char *word,
                    answer *out) {
  PGresult *result = ldx_pg_exec_params(session, sql, parameter ? 1 : 0, &parameter, NULL);
  if (!result) return false;
  ldx_name name;
  if (!ldx_pg_split_name(arena, word, &name)) name = (ldx_name){NULL, word};
  ldx_buffer all;
  ldx_buffer_init(&all, arena);
  const char *best = NULL, *best_name = NULL;
  *out = (answer){0};
  for (int i = 0; i < PQntuples(result); i++) {
    bool visible = *PQgetvalue(result, i, 2) == 't';
    const char *schema = PQgetisnull(result, i, 0) ? NULL : ldx_arena_strdup(arena, PQgetvalue(result, i, 0));
    const char *its_name = ldx_arena_strdup(arena, PQgetvalue(result, i, 1));
    const char *display = ldx_pg_display_name(arena, (ldx_name){visible ? NULL : schema, its_name});
    bool same = strcmp(name.name, its_name) == 0;
    out->known = out->known || (same && (name.schema ? schema && strcmp(name.schema, schema) == 0 : visible));
    /* Without its schema it may be just that which is missing. */
    const char *compared = name.schema ? ldx_pg_display_name(arena, (ldx_name){schema, its_name}) : its_name;
    const char *better = ldx_distance_best(word, best_name, compared);
    if (better != best_name) {
      best_name = better;
      best = name.schema ? better : display;
    }
    ldx_buffer_appendf(&all, "%s%s", i > 0 ? ", " : "", display);
  }
  PQclear(result);
  out->nearest = best;
  out->all = ldx_buffer_string(&all);
  return true;
}

/* --- storage parameters ------------------------------------------------------------------------------------------- */

/* No catalog lists these. The server decides what it takes; here it is only said what it might have been. */
static const struct {
  const char *method, *parameter;
} parameters[] = {
    {"btree", "fillfactor"},     {"btree", "deduplicate_items"},
    {"hash", "fillfactor"},      {"gist", "fillfactor"},
    {"gist", "buffering"},       {"spgist", "fillfactor"},
    {"gin", "fastupdate"},       {"gin", "gin_pending_list_limit"},
    {"brin", "pages_per_range"}, {"brin", "autosummarize"},
    {"bloom", "length"},
};

static const char *const opclass_parameters[] = {"siglen", "numranges", "values_per_range", "n_distinct_per_range",
                                                 "false_positive_rate"};

static bool explain_storage(ldx_arena *arena, ldx_declared *declared) {
  const ldx_definition *definition = declared->definition;
  for (size_t i = 0; i < definition->storage.count; i++) {
    const char *word = definition->storage.items[i].name, *best = NULL;
    bool known = false;
    ldx_buffer all;
    ldx_buffer_init(&all, arena);
    for (size_t j = 0; j < sizeof parameters / sizeof *parameters; j++) {
      const char *candidate = parameters[j].parameter;
      if (strcmp(parameters[j].method, definition->method) != 0) continue;
      known = known || strcmp(candidate, word) == 0;
      best = ldx_distance_best(word, best, candidate);
      ldx_buffer_appendf(&all, "%s%s", all.length ? ", " : "", candidate);
    }
    if (known || all.length == 0) continue;
    if (best)
      ldx_error_hint(declared->error, "Did you mean \"%s\"?", best);
    else
      ldx_error_hint(declared->error, "The storage parameters of %s are %s.", definition->method,
                     ldx_buffer_string(&all));
    return true;
  }
  for (size_t i = 0; i < definition->key_count; i++) {
    for (size_t j = 0; j < definition->keys[i].opclass_options.count; j++) {
      const char *word = definition->keys[i].opclass_options.items[j].name, *best = NULL;
      for (size_t k = 0; k < sizeof opclass_parameters / sizeof *opclass_parameters; k++)
        best = ldx_distance_best(word, best, opclass_parameters[k]);
      if (!best || strcmp(best, word) == 0) continue;
      ldx_error_hint(declared->error, "Did you mean \"%s\"?", best);
      return true;
    }
  }
  return false;
}

/* --- what was refused ---------------------------------------------------------------------------------------------- */

static bool explain_method(ldx_session *session, ldx_arena *arena, ldx_declared *declared) {
  answer a;
  if (!look_up(session, arena, methods, NULL, declared->definition->method, &a) || a.known) return false;
  if (a.nearest)
    ldx_error_hint(declared->error, "Did you mean \"%s\"?", a.nearest);
  else
    ldx_error_hint(declared->error, "There are %s; an extension may bring others.", a.all);
  return true;
}

static bool explain_collation(ldx_session *session, ldx_arena *arena, ldx_declared *declared, const ldx_key *key) {
  answer a;
  if (!key->collation || !look_up(session, arena, collations, NULL, key->collation, &a) || a.known) return false;
  if (a.nearest)
    ldx_error_hint(declared->error, "Did you mean \"%s\"?", a.nearest);
  else
    ldx_error_hint(declared->error, "The view pg_collation lists those there are; CREATE COLLATION makes others.");
  return true;
}

static bool explain_opclass(ldx_session *session, ldx_arena *arena, ldx_declared *declared, const ldx_key *key) {
  answer a;
  const char *method = declared->definition->method;
  if (!key->opclass || !look_up(session, arena, opclasses, method, key->opclass, &a) || a.known) return false;
  if (a.nearest)
    ldx_error_hint(declared->error, "Did you mean \"%s\"?", a.nearest);
  else
    ldx_error_hint(declared->error,
                   "Create the extension that brings it, or use one there is: \\dAc %s in psql lists them.", method);
  return true;
}

void ldx_pg_explain_refused(ldx_session *session, ldx_arena *arena, ldx_declared *declared) {
  static const char undefined_object[] = "42704", undefined_schema[] = "3F000", invalid_parameter[] = "22023";
  const char *state = declared->error->native;
  if (strcmp(state, invalid_parameter) == 0) {
    explain_storage(arena, declared);
    return;
  }
  if (strcmp(state, undefined_object) != 0 && strcmp(state, undefined_schema) != 0) return;
  const ldx_definition *definition = declared->definition;
  bool done = explain_method(session, arena, declared);
  for (size_t i = 0; i < definition->key_count && !done; i++)
    done = explain_collation(session, arena, declared, &definition->keys[i]) ||
           explain_opclass(session, arena, declared, &definition->keys[i]);
}
