#include "duplicates.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "json.h"
#include "path.h"
#include "shell.h"
#include "spec.h"

/* --- the query -------------------------------------------------------------------------------------------------------- */

/* The stages, as JSON, that give the keys of several documents, each with their number as `n` and what else is gathered
 * of them, such as `ids`. `only`: a filter besides that of a partial index; `which`: one of the keys; or NULL. NULL: there
 * is no such query. */
static const char *keys_of_several(ldx_arena *arena, const ldx_step *step, const bson_t *spec, const char *only,
                                   const char *which, const char *more) {
  const char *keys = ldx_mongo_keys_expression(arena, step->definition, ldx_mongo_flag_at(spec, "sparse"));
  bson_t filter;
  if (!keys) return NULL;
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  if (ldx_mongo_document_at(spec, "partialFilterExpression", &filter))
    ldx_buffer_appendf(&b, "{\"$match\": %s}, ", ldx_mongo_json(arena, &filter));
  if (only) ldx_buffer_appendf(&b, "{\"$match\": %s}, ", only);
  ldx_buffer_appendf(&b,
                     "{\"$project\": {\"key\": %s}}, {\"$unwind\": \"$key\"}, "
                     "%s{\"$group\": {\"_id\": \"$key\", \"n\": {\"$sum\": 1}%s}}, "
                     "{\"$match\": {\"n\": {\"$gt\": 1}}}",
                     keys, which ? ldx_arena_printf(arena, "{\"$match\": %s}, ", which) : "", more);
  return ldx_buffer_string(&b);
}

char *ldx_mongo_duplicates_query(ldx_arena *arena, const ldx_step *step) {
  bson_t spec, command;
  bson_iter_t iter;
  ldx_error ignored;
  ldx_buffer b;
  if (!ldx_mongo_spec_of(step->definition, step->name, true, &spec, &ignored)) return NULL;
  const char *stages = keys_of_several(arena, step, &spec, NULL, NULL, ", \"ids\": {\"$push\": \"$_id\"}");
  ldx_buffer_init(&b, arena);
  if (stages &&
      ldx_mongo_parse(ldx_arena_printf(arena, "{\"pipeline\": [%s]}", stages), "the query", &command, &ignored)) {
    ldx_mongo_shell_collection(&b, step->relation.name);
    ldx_buffer_append(&b, ".aggregate(");
    if (ldx_mongo_find(&command, "pipeline", &iter)) ldx_mongo_shell_value(&b, &iter);
    ldx_buffer_append(&b, ", { allowDiskUse: true");
    if (ldx_mongo_find(&spec, "collation", &iter)) {
      ldx_buffer_append(&b, ", collation: ");
      ldx_mongo_shell_value(&b, &iter);
    }
    ldx_buffer_append(&b, " })");
    bson_destroy(&command);
  }
  bson_destroy(&spec);
  return b.length ? ldx_buffer_string(&b) : NULL;
}

/* --- telling ---------------------------------------------------------------------------------------------------------- */

const char *ldx_mongo_sample(ldx_mongo_attempt *attempt, const char *key, double times, const bson_iter_t *ids) {
  bson_iter_t id;
  ldx_buffer b;
  size_t count = 0;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_appendf(&b, "%s%s%.0f times", key, *key ? " " : "", times);
  if (bson_iter_recurse(ids, &id))
    for (; count < LDX_MONGO_SAMPLE_IDS && bson_iter_next(&id); count++) {
      ldx_buffer_append(&b, count ? ", " : ", _id ");
      ldx_mongo_shell_value(&b, &id);
    }
  if (count && times > (double)count) ldx_buffer_append(&b, ", …");
  return ldx_buffer_string(&b);
}

/* "3 keys are in several documents, 7 times in all: { email: "a" } 3 times, _id 1, 2, 3; …" */
static void tell(ldx_mongo_attempt *attempt, const ldx_mongo_duplicates *found, bool at_least) {
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_appendf(&b, "%s%.0f key%s in several documents, %.0f times in all: ", at_least ? "at least " : "",
                     found->keys, found->keys == 1 ? " is" : "s are", found->times);
  for (size_t i = 0; i < found->sample_count; i++) ldx_buffer_appendf(&b, "%s%s", i ? "; " : "", found->samples[i]);
  if (found->keys > (double)found->sample_count) ldx_buffer_append(&b, "; …");
  snprintf(attempt->error->detail, sizeof attempt->error->detail, "%s", ldx_buffer_string(&b));
}

static void hint_query(ldx_mongo_attempt *attempt) {
  char *query = ldx_mongo_duplicates_query(attempt->arena, attempt->step);
  if (query && strlen(query) < sizeof attempt->error->hint - 32)
    ldx_error_hint(attempt->error, "Find them all: %s", query);
  else
    ldx_error_hint(attempt->error, "Give each document a key of its own, then run again.");
}

/* `{ email: "a" }`, of a key whose fields are named by their places. */
static const char *key_text(const ldx_mongo_attempt *attempt, const bson_t *key) {
  const ldx_definition *d = attempt->step->definition;
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  for (size_t i = 0; i < d->key_count; i++) {
    bson_iter_t value;
    ldx_buffer_append(&b, i ? ", " : "{ ");
    ldx_mongo_shell_name(&b, d->keys[i].column);
    ldx_buffer_append(&b, ": ");
    if (ldx_mongo_find(key, ldx_arena_printf(attempt->arena, "k%zu", i), &value))
      ldx_mongo_shell_value(&b, &value);
    else
      ldx_buffer_append(&b, "[]");
  }
  ldx_buffer_append(&b, " }");
  return ldx_buffer_string(&b);
}

/* --- before a build ---------------------------------------------------------------------------------------------------- */

typedef struct grouping {
  ldx_mongo_attempt *attempt;
  ldx_mongo_duplicates *found;
  ldx_buffer samples; /* keys, as a list of JSON */
} grouping;

static void add_sample(grouping *g, const char *key, double times, const bson_iter_t *ids) {
  if (g->found->sample_count < LDX_MONGO_SAMPLES)
    g->found->samples[g->found->sample_count++] = ldx_mongo_sample(g->attempt, key, times, ids);
}

static bool each_total(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  grouping *g = state;
  bson_iter_t sample;
  bson_t key;
  g->found->keys = ldx_mongo_number_at(document, "keys");
  g->found->times = ldx_mongo_number_at(document, "times");
  if (ldx_mongo_members_at(document, "samples", &sample))
    while (bson_iter_next(&sample))
      if (ldx_mongo_view(&sample, &key))
        ldx_buffer_appendf(&g->samples, "%s%s", g->samples.length ? ", " : "", ldx_mongo_json(g->attempt->arena, &key));
  return true;
}

static bool each_sample(const bson_t *group, void *state, ldx_error *error) {
  (void)error;
  grouping *g = state;
  bson_iter_t ids;
  bson_t key;
  if (ldx_mongo_document_at(group, "_id", &key) && ldx_mongo_find(group, "ids", &ids))
    add_sample(g, key_text(g->attempt, &key), ldx_mongo_number_at(group, "n"), &ids);
  return true;
}

/* Runs the query, if there is one, with these stages after it. */
static bool run_query(ldx_mongo_attempt *attempt, const bson_t *spec, const char *groups, const char *stages,
                      ldx_mongo_each each, void *state) {
  bson_t command = BSON_INITIALIZER, rest;
  bson_iter_t collation;
  if (!groups) return true;
  const char *text = ldx_arena_printf(attempt->arena, "{\"pipeline\": [%s%s], \"cursor\": {}, \"allowDiskUse\": true}",
                                      groups, stages);
  if (!ldx_mongo_parse(text, "the query", &rest, attempt->error)) return false;
  BSON_APPEND_UTF8(&command, "aggregate", attempt->step->relation.name);
  bson_concat(&command, &rest);
  bson_destroy(&rest);
  if (ldx_mongo_find(spec, "collation", &collation)) bson_append_iter(&command, NULL, -1, &collation);
  ldx_context_running(attempt->context, attempt->session->number);
  bool ok = ldx_mongo_walk(attempt->session, NULL, &command, each, state, attempt->error);
  ldx_context_running(attempt->context, 0);
  bson_destroy(&command);
  return ok;
}

/* The keys of all documents. To gather _ids of each would cost several times as much, so they are asked for when it is
 * known of which. */
static bool group_all(ldx_mongo_attempt *attempt, const bson_t *spec, ldx_mongo_duplicates *found) {
  static const char totals[] =
      ", {\"$group\": {\"_id\": null, \"keys\": {\"$sum\": 1}, \"times\": {\"$sum\": \"$n\"}, \"samples\": "
      "{\"$topN\": {\"n\": 5, \"sortBy\": {\"n\": -1, \"_id\": 1}, \"output\": \"$_id\"}}}}";
  static const char some_ids[] = ", \"ids\": {\"$firstN\": {\"n\": 7, \"input\": \"$_id\"}}"; /* one more than shown */
  static const char most_first[] = ", {\"$sort\": {\"n\": -1, \"_id\": 1}}";
  const ldx_step *step = attempt->step;
  grouping state = {.attempt = attempt, .found = found};
  ldx_buffer_init(&state.samples, attempt->arena);
  const char *groups = keys_of_several(attempt->arena, step, spec, NULL, NULL, "");
  if (!run_query(attempt, spec, groups, totals, each_total, &state)) return false;
  if (!state.samples.length) return true;
  const char *which = ldx_arena_printf(attempt->arena, "{\"key\": {\"$in\": [%s]}}", ldx_buffer_string(&state.samples));
  groups = keys_of_several(attempt->arena, step, spec, NULL, which, some_ids);
  return run_query(attempt, spec, groups, most_first, each_sample, &state);
}

static bool find_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes, const bson_t *spec,
                            ldx_mongo_duplicates *found) {
  bool walked = false;
  for (size_t i = 0; i < indexes->count && !walked; i++)
    if (ldx_mongo_can_walk(attempt, spec, &indexes->items[i]) &&
        !ldx_mongo_walk_index(attempt, &indexes->items[i], attempt->step->definition->key_count, &walked, found))
      return false;
  return walked || group_all(attempt, spec, found);
}

bool ldx_mongo_check_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes) {
  const ldx_step *step = attempt->step;
  ldx_mongo_duplicates found = {0};
  bson_t spec;
  if (!step->definition->unique || !indexes->exists) return true;
  if (!ldx_mongo_spec_of(step->definition, step->name, true, &spec, attempt->error)) return false;
  bool ok = find_duplicates(attempt, indexes, &spec, &found);
  bson_destroy(&spec);
  if (!ok || found.keys == 0) return ok;
  ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_KEY, "%s holds keys more than once: nothing was begun",
                step->relation.name);
  tell(attempt, &found, false);
  hint_query(attempt);
  return false;
}

void ldx_mongo_explain_duplicates(ldx_mongo_attempt *attempt) {
  hint_query(attempt);
}

/* --- what collMod found ------------------------------------------------------------------------------------------------ */

/* One group of violations: documents that share a key, which the server does not name. */
typedef struct violation {
  grouping all;
  const bson_iter_t *ids;
  double times;
  bool told;
} violation;

/* The same documents may share several keys: each is a group, and told once. */
static bool each_shared(const bson_t *group, void *state, ldx_error *error) {
  (void)error;
  violation *v = state;
  bson_t key;
  if (v->told || !ldx_mongo_document_at(group, "_id", &key)) return true;
  const ldx_mongo_duplicates *found = v->all.found;
  const char *text = ldx_mongo_sample(v->all.attempt, key_text(v->all.attempt, &key), v->times, v->ids);
  for (size_t i = 0; i < found->sample_count; i++)
    if (!strcmp(found->samples[i], text)) return true;
  v->all.found->samples[v->all.found->sample_count++] = text;
  v->told = true;
  return true;
}

static void add_violation(ldx_mongo_attempt *attempt, const bson_t *spec, const bson_iter_t *ids, double times,
                          ldx_mongo_duplicates *found) {
  enum { MOST = 1000 }; /* of many, some say as well which key it is */
  violation v = {.all = {.attempt = attempt, .found = found}, .ids = ids, .times = times};
  bson_iter_t id;
  ldx_buffer only;
  ldx_error error = *attempt->error;
  size_t count = 0;
  ldx_buffer_init(&only, attempt->arena);
  if (bson_iter_recurse(ids, &id))
    for (; count < MOST && bson_iter_next(&id); count++)
      ldx_buffer_appendf(&only, "%s%s", count ? ", " : "", ldx_mongo_json_value(attempt->arena, &id));
  const char *these = ldx_arena_printf(attempt->arena, "{\"_id\": {\"$in\": [%s]}}", ldx_buffer_string(&only));
  run_query(attempt, spec, keys_of_several(attempt->arena, attempt->step, spec, these, NULL, ""),
            ldx_arena_printf(attempt->arena, ", {\"$match\": {\"n\": %zu}}, {\"$sort\": {\"_id\": 1}}", count),
            each_shared, &v);
  *attempt->error = error;
  if (!v.told) add_sample(&v.all, "", times, ids);
}

void ldx_mongo_explain_violations(ldx_mongo_attempt *attempt, const bson_t *reply) {
  /* The server stops collecting them where its answer would be too large. */
  bool at_least = strstr(attempt->error->message, "Too many") != NULL;
  const ldx_step *step = attempt->step;
  ldx_mongo_duplicates found = {0};
  bson_iter_t member, ids;
  bson_t group, spec;
  if (!ldx_mongo_spec_of(step->definition, step->name, true, &spec, attempt->error)) return;
  if (ldx_mongo_members_at(reply, "violations", &member))
    while (bson_iter_next(&member)) {
      if (!ldx_mongo_view(&member, &group) || !ldx_mongo_find(&group, "ids", &ids)) continue;
      double times = (double)ldx_mongo_count_at(&group, "ids");
      if (found.sample_count < LDX_MONGO_SAMPLES) add_violation(attempt, &spec, &ids, times, &found);
      found.keys++;
      found.times += times;
    }
  bson_destroy(&spec);
  char native[sizeof attempt->error->native];
  memcpy(native, attempt->error->native, sizeof native);
  ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_KEY, "%s holds keys more than once", step->relation.name);
  memcpy(attempt->error->native, native, sizeof native);
  if (found.keys > 0) tell(attempt, &found, at_least);
  hint_query(attempt);
}
