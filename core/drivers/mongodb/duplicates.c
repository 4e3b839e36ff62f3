#include "duplicates.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "shell.h"
#include "spec.h"

enum { SAMPLE_IDS = 6 };

/* --- the documents that count ---------------------------------------------------------------------------------------- */

/* A path that an expression reads as the index does: none of its names is a number, which could be a place in an array. */
static bool can_be_grouped(const ldx_definition *d) {
  for (size_t i = 0; i < d->key_count; i++) {
    const char *column = d->keys[i].column;
    if (!column || d->keys[i].opclass) return false;
    for (const char *part = column; part; part = strchr(part, '.') ? strchr(part, '.') + 1 : NULL)
      if (isdigit((unsigned char)*part) || *part == '$' || !*part || *part == '.') return false;
  }
  return d->key_count > 0;
}

/* What the filter of a partial or sparse index lets in, as a stage; nothing for others. */
static void append_match(bson_t *pipeline, const bson_t *spec, uint32_t *stage) {
  bson_iter_t iter, key;
  bson_t stages, match, list, item, exists;
  char number[16];
  const char *name;
  bool partial = bson_iter_init_find(&iter, spec, "partialFilterExpression");
  bson_iter_t sparse;
  if (!partial && !(bson_iter_init_find(&sparse, spec, "sparse") && bson_iter_as_bool(&sparse))) return;
  bson_uint32_to_string((*stage)++, &name, number, sizeof number);
  bson_append_document_begin(pipeline, name, -1, &stages);
  if (partial) {
    bson_append_iter(&stages, "$match", -1, &iter);
  } else {
    uint32_t i = 0;
    bson_append_document_begin(&stages, "$match", -1, &match);
    bson_append_array_begin(&match, "$or", -1, &list);
    bson_iter_init_find(&iter, spec, "key");
    bson_iter_recurse(&iter, &key);
    while (bson_iter_next(&key)) {
      bson_uint32_to_string(i++, &name, number, sizeof number);
      bson_append_document_begin(&list, name, -1, &item);
      bson_append_document_begin(&item, bson_iter_key(&key), -1, &exists);
      BSON_APPEND_BOOL(&exists, "$exists", true);
      bson_append_document_end(&item, &exists);
      bson_append_document_end(&list, &item);
    }
    bson_append_array_end(&match, &list);
    bson_append_document_end(&stages, &match);
  }
  bson_append_document_end(pipeline, &stages);
}

/* `_id` of $group: the keys as the index has them, null for what is missing. A field's path cannot be a name here: its
 * place is. */
static void append_keys(bson_t *group, const ldx_step *step, ldx_arena *arena) {
  bson_t id, value, list;
  bson_append_document_begin(group, "_id", -1, &id);
  for (size_t i = 0; i < step->definition->key_count; i++) {
    char number[24];
    snprintf(number, sizeof number, "k%zu", i);
    bson_append_document_begin(&id, number, -1, &value);
    bson_append_array_begin(&value, "$ifNull", -1, &list);
    BSON_APPEND_UTF8(&list, "0", ldx_arena_printf(arena, "$%s", step->definition->keys[i].column));
    BSON_APPEND_NULL(&list, "1");
    bson_append_array_end(&value, &list);
    bson_append_document_end(&id, &value);
  }
  bson_append_document_end(group, &id);
}

/* The groups of several documents with their number as `n`, and, with `ids`, their _ids. */
static void append_groups(bson_t *pipeline, const ldx_step *step, const bson_t *spec, ldx_arena *arena, bool ids,
                          uint32_t *stage) {
  char number[16];
  const char *name;
  bson_t document, group;
  append_match(pipeline, spec, stage);
  bson_uint32_to_string((*stage)++, &name, number, sizeof number);
  bson_append_document_begin(pipeline, name, -1, &document);
  bson_append_document_begin(&document, "$group", -1, &group);
  append_keys(&group, step, arena);
  BCON_APPEND(&group, "n", "{", "$sum", BCON_INT32(1), "}");
  if (ids) BCON_APPEND(&group, "ids", "{", "$push", BCON_UTF8("$_id"), "}");
  bson_append_document_end(&document, &group);
  bson_append_document_end(pipeline, &document);
  bson_uint32_to_string((*stage)++, &name, number, sizeof number);
  BCON_APPEND(pipeline, name, "{", "$match", "{", "n", "{", "$gt", BCON_INT32(1), "}", "}", "}");
}

char *ldx_mongo_duplicates_query(ldx_arena *arena, const ldx_step *step) {
  bson_t spec, command = BSON_INITIALIZER, pipeline = BSON_INITIALIZER;
  bson_iter_t iter;
  uint32_t stage = 0;
  ldx_error ignored;
  if (!can_be_grouped(step->definition)) return NULL;
  if (!ldx_mongo_spec_of(step->definition, step->name, true, &spec, &ignored)) return NULL;
  append_groups(&pipeline, step, &spec, arena, true, &stage);
  BSON_APPEND_ARRAY(&command, "pipeline", &pipeline);
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  ldx_mongo_shell_collection(&b, step->relation.name);
  ldx_buffer_append(&b, ".aggregate(");
  if (bson_iter_init_find(&iter, &command, "pipeline")) ldx_mongo_shell_value(&b, &iter);
  ldx_buffer_append(&b, ", { allowDiskUse: true");
  if (bson_iter_init_find(&iter, &spec, "collation")) {
    ldx_buffer_append(&b, ", collation: ");
    ldx_mongo_shell_value(&b, &iter);
  }
  ldx_buffer_append(&b, " })");
  bson_destroy(&pipeline);
  bson_destroy(&command);
  bson_destroy(&spec);
  return ldx_buffer_string(&b);
}

/* --- telling ---------------------------------------------------------------------------------------------------------- */

/* "3 keys are in 7 documents: { email: "a" } 3 times, …" */
static void tell(ldx_mongo_attempt *attempt, const ldx_mongo_duplicates *found, bool at_least) {
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_appendf(&b, "%s%.0f key%s in %.0f documents: ", at_least ? "at least " : "", found->groups,
                     found->groups == 1 ? " is" : "s are", found->documents);
  for (size_t i = 0; i < found->sample_count; i++) ldx_buffer_appendf(&b, "%s%s", i ? "; " : "", found->samples[i]);
  if (found->groups > (double)found->sample_count) ldx_buffer_append(&b, "; …");
  snprintf(attempt->error->detail, sizeof attempt->error->detail, "%s", ldx_buffer_string(&b));
}

static void hint_query(ldx_mongo_attempt *attempt) {
  char *query = ldx_mongo_duplicates_query(attempt->arena, attempt->step);
  if (query && strlen(query) < sizeof attempt->error->hint - 32)
    ldx_error_hint(attempt->error, "Find them all: %s", query);
  else
    ldx_error_hint(attempt->error, "Give each document a key of its own, then run again.");
}

/* --- before a build ---------------------------------------------------------------------------------------------------- */

/* `{ email: "a" } 3 times`, of a key whose fields are named by their place. */
static const char *group_text(ldx_mongo_attempt *attempt, const bson_iter_t *key, double times) {
  const ldx_definition *d = attempt->step->definition;
  bson_iter_t value;
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_append(&b, "{ ");
  if (bson_iter_recurse(key, &value))
    for (size_t i = 0; i < d->key_count && bson_iter_next(&value); i++) {
      ldx_buffer_append(&b, i ? ", " : "");
      ldx_mongo_shell_name(&b, d->keys[i].column);
      ldx_buffer_append(&b, ": ");
      ldx_mongo_shell_value(&b, &value);
    }
  ldx_buffer_appendf(&b, " } %.0f times", times);
  return ldx_buffer_string(&b);
}

typedef struct grouping {
  ldx_mongo_attempt *attempt;
  ldx_mongo_duplicates *found;
} grouping;

static bool each_total(const bson_t *document, void *state, ldx_error *error) {
  (void)error;
  grouping *g = state;
  bson_iter_t iter, sample, key, times;
  if (bson_iter_init_find(&iter, document, "groups")) g->found->groups = bson_iter_as_double(&iter);
  if (bson_iter_init_find(&iter, document, "documents")) g->found->documents = bson_iter_as_double(&iter);
  if (!bson_iter_init_find(&iter, document, "samples") || !bson_iter_recurse(&iter, &sample)) return true;
  while (bson_iter_next(&sample) && g->found->sample_count < LDX_MONGO_SAMPLES) {
    if (bson_iter_recurse(&sample, &key) && bson_iter_find(&key, "k") && bson_iter_recurse(&sample, &times) &&
        bson_iter_find(&times, "n"))
      g->found->samples[g->found->sample_count++] = group_text(g->attempt, &key, bson_iter_as_double(&times));
  }
  return true;
}

/* All documents, grouped. */
static bool group_all(ldx_mongo_attempt *attempt, const bson_t *spec, ldx_mongo_duplicates *found) {
  const ldx_step *step = attempt->step;
  grouping state = {attempt, found};
  bson_t command = BSON_INITIALIZER, pipeline;
  bson_iter_t collation;
  char number[16];
  const char *name;
  uint32_t stage = 0;
  BSON_APPEND_UTF8(&command, "aggregate", step->relation.name);
  bson_append_array_begin(&command, "pipeline", -1, &pipeline);
  append_groups(&pipeline, step, spec, attempt->arena, false, &stage);
  bson_uint32_to_string(stage, &name, number, sizeof number);
  BCON_APPEND(&pipeline, name, "{", "$group", "{", "_id", BCON_NULL, "groups", "{", "$sum", BCON_INT32(1), "}",
              "documents", "{", "$sum", "$n", "}", "samples", "{", "$topN", "{", "n", BCON_INT32(LDX_MONGO_SAMPLES),
              "sortBy", "{", "n", BCON_INT32(-1), "}", "output", "{", "k", "$_id", "n", "$n", "}", "}", "}", "}", "}");
  bson_append_array_end(&command, &pipeline);
  BCON_APPEND(&command, "cursor", "{", "}", "allowDiskUse", BCON_BOOL(true));
  if (bson_iter_init_find(&collation, spec, "collation")) bson_append_iter(&command, NULL, -1, &collation);
  ldx_context_running(attempt->context, attempt->session->number);
  bool ok = ldx_mongo_walk(attempt->session, NULL, &command, each_total, &state, attempt->error);
  ldx_context_running(attempt->context, 0);
  bson_destroy(&command);
  return ok;
}

static bool find_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes, const bson_t *spec,
                            ldx_mongo_duplicates *found) {
  bool walked = false;
  for (size_t i = 0; i < indexes->count && !walked; i++)
    if (ldx_mongo_can_walk(spec, &indexes->items[i]) &&
        !ldx_mongo_walk_index(attempt, &indexes->items[i], attempt->step->definition->key_count, &walked, found))
      return false;
  return walked || !can_be_grouped(attempt->step->definition) || group_all(attempt, spec, found);
}

bool ldx_mongo_check_duplicates(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes) {
  const ldx_step *step = attempt->step;
  ldx_mongo_duplicates found = {0};
  bson_t spec;
  if (!step->definition->unique || !indexes->exists) return true;
  if (!ldx_mongo_spec_of(step->definition, step->name, true, &spec, attempt->error)) return false;
  bool ok = find_duplicates(attempt, indexes, &spec, &found);
  bson_destroy(&spec);
  if (!ok || found.groups == 0) return ok;
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

/* The keys of the document that has that _id, as far as it has them. */
static void append_keys_of(ldx_mongo_attempt *attempt, const bson_iter_t *id, ldx_buffer *to) {
  const ldx_definition *d = attempt->step->definition;
  bson_t command = BSON_INITIALIZER, child, reply;
  bson_iter_t iter, found;
  ldx_error ignored;
  BSON_APPEND_UTF8(&command, "find", attempt->step->relation.name);
  bson_append_document_begin(&command, "filter", -1, &child);
  bson_append_iter(&child, "_id", -1, id);
  bson_append_document_end(&command, &child);
  bson_append_document_begin(&command, "projection", -1, &child);
  bool has_id = false;
  for (size_t i = 0; i < d->key_count; i++) {
    if (!strcmp(d->keys[i].column, "_id")) has_id = true;
    BSON_APPEND_INT32(&child, d->keys[i].column, 1);
  }
  if (!has_id) BSON_APPEND_INT32(&child, "_id", 0);
  bson_append_document_end(&command, &child);
  BSON_APPEND_INT32(&command, "limit", 1);
  if (ldx_mongo_command(attempt->session, NULL, &command, &reply, &ignored) && bson_iter_init(&iter, &reply) &&
      bson_iter_find_descendant(&iter, "cursor.firstBatch.0", &found))
    ldx_mongo_shell_value(to, &found);
  bson_destroy(&reply);
  bson_destroy(&command);
}

/* `{ email: "a" } 3 times, _id 1, 2, 3` */
static const char *violation_text(ldx_mongo_attempt *attempt, const bson_iter_t *ids, double *count) {
  bson_iter_t id;
  ldx_buffer b, list;
  ldx_buffer_init(&b, attempt->arena);
  ldx_buffer_init(&list, attempt->arena);
  *count = 0;
  if (bson_iter_recurse(ids, &id))
    while (bson_iter_next(&id)) {
      if (*count == 0) append_keys_of(attempt, &id, &b);
      if (*count < SAMPLE_IDS) {
        ldx_buffer_append(&list, *count > 0 ? ", " : "");
        ldx_mongo_shell_value(&list, &id);
      }
      ++*count;
    }
  ldx_buffer_appendf(&b, "%s%.0f times, _id %s%s", b.length ? " " : "", *count, ldx_buffer_string(&list),
                     *count > SAMPLE_IDS ? ", …" : "");
  return ldx_buffer_string(&b);
}

static double count_of(const bson_iter_t *ids) {
  bson_iter_t id;
  double count = 0;
  if (bson_iter_recurse(ids, &id))
    while (bson_iter_next(&id)) count++;
  return count;
}

void ldx_mongo_explain_violations(ldx_mongo_attempt *attempt, const bson_t *reply) {
  /* The server stops collecting them where its answer would be too large. */
  bool at_least = strstr(attempt->error->message, "Too many") != NULL;
  ldx_mongo_duplicates found = {0};
  bson_iter_t iter, group, ids;
  if (bson_iter_init_find(&iter, reply, "violations") && bson_iter_recurse(&iter, &group))
    while (bson_iter_next(&group)) {
      if (!bson_iter_recurse(&group, &ids) || !bson_iter_find(&ids, "ids")) continue;
      double count;
      if (found.sample_count < LDX_MONGO_SAMPLES)
        found.samples[found.sample_count++] = violation_text(attempt, &ids, &count);
      else
        count = count_of(&ids);
      found.groups++;
      found.documents += count;
    }
  char native[sizeof attempt->error->native];
  memcpy(native, attempt->error->native, sizeof native);
  ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_KEY, "%s holds keys more than once", attempt->step->relation.name);
  memcpy(attempt->error->native, native, sizeof native);
  if (found.groups > 0) tell(attempt, &found, at_least);
  hint_query(attempt);
}
