#include "duplicates.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "json.h"
#include "path.h"
#include "shell.h"
#include "spec.h"

/* --- the query -------------------------------------------------------------------------------------------------------- */

static void add_item(bson_t *array, const bson_iter_t *item) {
  char number[16];
  const char *key;
  bson_uint32_to_string(bson_count_keys(array), &key, number, sizeof number);
  bson_append_iter(array, key, -1, item);
}

static bool add_stages(ldx_arena *arena, bson_t *pipeline, const char *json, ldx_error *error) {
  bson_t holder;
  bson_iter_t stage;
  if (!ldx_mongo_parse(ldx_arena_printf(arena, "{\"stages\": [%s]}", json), "the query", &holder, error)) return false;
  if (ldx_mongo_members_at(&holder, "stages", &stage))
    while (bson_iter_next(&stage)) add_item(pipeline, &stage);
  bson_destroy(&holder);
  return true;
}

/* A filter is a value and not JSON, for it may hold what no JSON does. */
static void add_match(bson_t *pipeline, const bson_t *filter) {
  bson_t *stage = BCON_NEW("stage", "{", "$match", BCON_DOCUMENT(filter), "}");
  bson_iter_t iter;
  if (bson_iter_init_find(&iter, stage, "stage")) add_item(pipeline, &iter);
  bson_destroy(stage);
}

/* Of the keys, those in the variable `keys`. */
static const char among_keys[] = "{\"$match\": {\"$expr\": {\"$in\": [\"$key\", \"$$keys\"]}}}, ";

bool ldx_mongo_keys_pipeline(ldx_arena *arena, const ldx_step *step, const bson_t *spec, const bson_t *only,
                             const char *then, bson_t *pipeline, ldx_error *error) {
  const char *keys = ldx_mongo_keys_expression(arena, step->definition, ldx_mongo_flag_at(spec, "sparse"));
  bson_t filter;
  bson_init(pipeline);
  if (!keys) return true;
  if (ldx_mongo_document_at(spec, "partialFilterExpression", &filter)) add_match(pipeline, &filter);
  if (only) add_match(pipeline, only);
  return add_stages(arena, pipeline,
                    ldx_arena_printf(arena, "{\"$project\": {\"key\": %s}}, {\"$unwind\": \"$key\"}, %s", keys, then),
                    error);
}

/* The stages that give the keys of several documents, each with their number as `n` and what else is gathered of them,
 * such as `ids`. `which`: of the keys, a stage or ""; `then`: the stages after them; the rest as above. */
static bool keys_of_several(ldx_arena *arena, const ldx_step *step, const bson_t *spec, const bson_t *only,
                            const char *which, const char *more, const char *then, bson_t *pipeline, ldx_error *error) {
  return ldx_mongo_keys_pipeline(arena, step, spec, only,
                                 ldx_arena_printf(arena,
                                                  "%s{\"$group\": {\"_id\": \"$key\", \"n\": {\"$sum\": 1}%s}}, "
                                                  "{\"$match\": {\"n\": {\"$gt\": 1}}}%s",
                                                  which, more, then),
                                 pipeline, error);
}

char *ldx_mongo_duplicates_query(ldx_arena *arena, const ldx_step *step) {
  bson_t spec, pipeline;
  bson_iter_t collation;
  ldx_error ignored;
  ldx_buffer b;
  if (!ldx_mongo_spec_of(step->definition, step->name, true, &spec, &ignored)) return NULL;
  ldx_buffer_init(&b, arena);
  if (keys_of_several(arena, step, &spec, NULL, "", ", \"ids\": {\"$push\": \"$_id\"}", "", &pipeline, &ignored) &&
      !bson_empty(&pipeline)) {
    ldx_mongo_shell_collection(&b, step->relation.name);
    ldx_buffer_append(&b, ".aggregate(");
    ldx_mongo_shell_array(&b, &pipeline);
    ldx_buffer_append(&b, ", { allowDiskUse: true");
    if (ldx_mongo_find(&spec, "collation", &collation)) {
      ldx_buffer_append(&b, ", collation: ");
      ldx_mongo_shell_value(&b, &collation);
    }
    ldx_buffer_append(&b, " })");
  }
  bson_destroy(&pipeline);
  bson_destroy(&spec);
  return b.length ? ldx_buffer_string(&b) : NULL;
}

/* --- telling ---------------------------------------------------------------------------------------------------------- */

static const char *sample_text(ldx_mongo_attempt *attempt, const char *key, double times, const bson_iter_t *ids,
                               size_t most) {
  bson_iter_t id;
  ldx_buffer b;
  size_t count = 0;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_appendf(&b, "%s%s%.0f times", key, *key ? " " : "", times);
  if (bson_iter_recurse(ids, &id))
    for (; count < most && bson_iter_next(&id); count++) {
      ldx_buffer_append(&b, count ? ", " : ", _id ");
      ldx_mongo_shell_value(&b, &id);
    }
  if (count && times > (double)count) ldx_buffer_append(&b, ", …");
  return ldx_buffer_string(&b);
}

/* What has room in a message. */
enum { BRIEF = 5, BRIEF_IDS = 6 };

bool ldx_mongo_add_duplicate(ldx_mongo_attempt *attempt, ldx_mongo_duplicates *found, const char *key, double times,
                             const bson_iter_t *ids) {
  const char *whole = sample_text(attempt, key, times, ids, LDX_MONGO_SAMPLE_IDS);
  for (size_t i = 0; i < found->sample_count; i++)
    if (!strcmp(found->samples[i].whole, whole)) return false;
  if (found->sample_count < LDX_MONGO_SAMPLES)
    found->samples[found->sample_count++] =
        (ldx_mongo_duplicate){sample_text(attempt, key, times, ids, BRIEF_IDS), whole};
  return true;
}

/* "3 keys are in several documents, 7 times in all: { email: "a" } 3 times, _id 1, 2, 3; …"; what has no room there is told
 * beforehand. */
static void tell(ldx_mongo_attempt *attempt, const ldx_mongo_duplicates *found, bool at_least) {
  ldx_buffer b;
  bool fits = found->sample_count <= BRIEF;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_appendf(&b, "%s%.0f key%s in several documents, %.0f times in all: ", at_least ? "at least " : "",
                     found->keys, found->keys == 1 ? " is" : "s are", found->times);
  for (size_t i = 0; i < found->sample_count && i < BRIEF; i++) {
    ldx_buffer_appendf(&b, "%s%s", i ? "; " : "", found->samples[i].brief);
    fits = fits && !strcmp(found->samples[i].brief, found->samples[i].whole);
  }
  if (found->keys > BRIEF) ldx_buffer_append(&b, "; …");
  fits = fits && b.length < sizeof attempt->error->detail;
  for (size_t i = 0; i < found->sample_count && !fits; i++)
    ldx_context_note(attempt->context, "in several documents: %s", found->samples[i].whole);
  snprintf(attempt->error->detail, sizeof attempt->error->detail, "%s", ldx_buffer_string(&b));
}

void ldx_mongo_explain_duplicates(ldx_mongo_attempt *attempt, const bson_t *violations) {
  char *query = ldx_mongo_duplicates_query(attempt->arena, attempt->step);
  if (query && strlen(query) < sizeof attempt->error->hint - 32)
    ldx_error_hint(attempt->error, "Find them all: %s", query);
  else
    ldx_error_hint(attempt->error, "Give each document a key of its own, then run again.");
  ldx_mongo_list_duplicates(attempt, violations);
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
  bson_t samples; /* keys, an array */
} grouping;

static bool each_total(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  grouping *g = state;
  bson_iter_t sample;
  g->found->keys = ldx_mongo_number_at(document, "keys");
  g->found->times = ldx_mongo_number_at(document, "times");
  if (ldx_mongo_members_at(document, "samples", &sample))
    while (bson_iter_next(&sample)) add_item(&g->samples, &sample);
  return true;
}

static bool each_sample(const bson_t *group, void *state, ldx_error *error) {
  (void)error;
  grouping *g = state;
  bson_iter_t ids;
  bson_t key;
  if (ldx_mongo_document_at(group, "_id", &key) && ldx_mongo_find(group, "ids", &ids))
    ldx_mongo_add_duplicate(g->attempt, g->found, key_text(g->attempt, &key), ldx_mongo_number_at(group, "n"), &ids);
  return true;
}

bool ldx_mongo_run_pipeline(ldx_mongo_attempt *attempt, const bson_t *spec, const bson_t *pipeline, const bson_t *keys,
                            ldx_mongo_each each, void *state, ldx_error *error) {
  bson_iter_t collation;
  if (bson_empty(pipeline)) return true;
  bson_t *command = BCON_NEW("aggregate", BCON_UTF8(attempt->step->relation.name), "pipeline", BCON_ARRAY(pipeline),
                             "cursor", "{", "}", "allowDiskUse", BCON_BOOL(true));
  if (keys) BCON_APPEND(command, "let", "{", "keys", BCON_ARRAY(keys), "}");
  if (ldx_mongo_find(spec, "collation", &collation)) bson_append_iter(command, NULL, -1, &collation);
  ldx_context_running(attempt->context, attempt->session->number);
  bool ok = ldx_mongo_walk(attempt->session, NULL, command, each, state, error);
  ldx_context_running(attempt->context, 0);
  bson_destroy(command);
  return ok;
}

/* The keys of all documents. To gather _ids of each would cost several times as much, so they are asked for when it is
 * known of which. */
static bool group_all(ldx_mongo_attempt *attempt, const bson_t *spec, ldx_mongo_duplicates *found) {
  static const char most_first[] = ", {\"$sort\": {\"n\": -1, \"_id\": 1}}";
  ldx_arena *arena = attempt->arena;
  const char *totals = ldx_arena_printf(
      arena,
      ", {\"$group\": {\"_id\": null, \"keys\": {\"$sum\": 1}, \"times\": {\"$sum\": \"$n\"}, \"samples\": "
      "{\"$topN\": {\"n\": %d, \"sortBy\": {\"n\": -1, \"_id\": 1}, \"output\": \"$_id\"}}}}",
      LDX_MONGO_SAMPLES);
  const char *some_ids = ldx_arena_printf(arena, ", \"ids\": {\"$firstN\": {\"n\": %d, \"input\": \"$_id\"}}",
                                          LDX_MONGO_SAMPLE_IDS + 1); /* so that it is seen that there are more */
  grouping state = {.attempt = attempt, .found = found, .samples = BSON_INITIALIZER};
  bson_t all, some;
  bool ok = keys_of_several(arena, attempt->step, spec, NULL, "", "", totals, &all, attempt->error) &&
            ldx_mongo_run_pipeline(attempt, spec, &all, NULL, each_total, &state, attempt->error);
  bson_destroy(&all);
  if (ok && !bson_empty(&state.samples)) {
    ok = keys_of_several(arena, attempt->step, spec, NULL, among_keys, some_ids, most_first, &some, attempt->error) &&
         ldx_mongo_run_pipeline(attempt, spec, &some, &state.samples, each_sample, &state, attempt->error);
    bson_destroy(&some);
  }
  bson_destroy(&state.samples);
  return ok;
}

static bool find_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes, const bson_t *spec,
                            ldx_mongo_duplicates *found) {
  bool walked = false;
  for (size_t i = 0; i < indexes->count && !walked; i++)
    if (ldx_mongo_can_walk(attempt, spec, &indexes->items[i]) &&
        !ldx_mongo_walk_samples(attempt, &indexes->items[i], attempt->step->definition->key_count, &walked, found))
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
  ldx_mongo_explain_duplicates(attempt, NULL);
  return false;
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
  v->told = ldx_mongo_add_duplicate(v->all.attempt, v->all.found, key_text(v->all.attempt, &key), v->times, v->ids);
  return true;
}

static void add_violation(ldx_mongo_attempt *attempt, const bson_t *spec, const bson_iter_t *ids, double times,
                          ldx_mongo_duplicates *found) {
  enum { MOST = 1000 }; /* of many, some say as well which key it is */
  violation v = {.all = {.attempt = attempt, .found = found}, .ids = ids, .times = times};
  bson_iter_t id;
  bson_t only = BSON_INITIALIZER, in, list, pipeline;
  ldx_error error = *attempt->error;
  size_t count = 0;
  BSON_APPEND_DOCUMENT_BEGIN(&only, "_id", &in);
  BSON_APPEND_ARRAY_BEGIN(&in, "$in", &list);
  if (bson_iter_recurse(ids, &id))
    for (; count < MOST && bson_iter_next(&id); count++) add_item(&list, &id);
  bson_append_array_end(&in, &list);
  bson_append_document_end(&only, &in);
  const char *then = ldx_arena_printf(attempt->arena, ", {\"$match\": {\"n\": %zu}}, {\"$sort\": {\"_id\": 1}}", count);
  if (keys_of_several(attempt->arena, attempt->step, spec, &only, "", "", then, &pipeline, attempt->error))
    ldx_mongo_run_pipeline(attempt, spec, &pipeline, NULL, each_shared, &v, attempt->error);
  bson_destroy(&pipeline);
  bson_destroy(&only);
  *attempt->error = error;
  if (!v.told) ldx_mongo_add_duplicate(attempt, found, "", times, ids);
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
  ldx_mongo_explain_duplicates(attempt, reply);
}
