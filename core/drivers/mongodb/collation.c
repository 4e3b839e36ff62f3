#include "collation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "path.h"

typedef struct answer {
  const char *given, *complete;
  struct answer *next;
} answer;

struct ldx_mongo_collations {
  ldx_session *session;
  ldx_arena *arena;
  answer *answers;
};

static const struct {
  const char *name, *usual;
} fields[] = {
    {"locale", ""},
    {"caseLevel", "false"},
    {"caseFirst", "\"off\""},
    {"strength", "3"},
    {"numericOrdering", "false"},
    {"alternate", "\"non-ignorable\""},
    {"maxVariable", "\"punct\""},
    {"normalization", "false"},
    {"backwards", "false"},
};

/* What a locale has instead of the usual, in the server's ICU (57.1, since MongoDB 3.4). */
static const struct {
  const char *locales, *field, *value;
} peculiar[] = {
    {" da mt ", "caseFirst", "\"upper\""},
    {" fr_CA ", "backwards", "true"},
    {" th ", "alternate", "\"shifted\""},
    {" as bn el fa gu he hi ig km kn kok mr my or pa ps si ta te th vi yi yo ", "normalization", "true"},
};

static const char *usual_of(const char *locale, size_t field) {
  char word[64];
  int length = snprintf(word, sizeof word, " %s ", locale);
  for (size_t i = 0; i < sizeof peculiar / sizeof *peculiar; i++)
    if (length < (int)sizeof word && !strcmp(peculiar[i].field, fields[field].name) &&
        strstr(peculiar[i].locales, word))
      return peculiar[i].value;
  return fields[field].usual;
}

/* The server keeps numbers and booleans as it understood them, so the types are always the same. */
const char *ldx_mongo_collation_form(ldx_arena *arena, const bson_t *collation) {
  ldx_buffer b;
  bson_iter_t iter;
  ldx_buffer_init(&b, arena);
  bool named = bson_iter_init_find(&iter, collation, "locale") && BSON_ITER_HOLDS_UTF8(&iter);
  const char *locale = named ? bson_iter_utf8(&iter, NULL) : "";
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    ldx_buffer_appendf(&b, "%s\"%s\": ", i ? ", " : "{", fields[i].name);
    if (bson_iter_init_find(&iter, collation, fields[i].name))
      ldx_mongo_form(&b, &iter);
    else
      ldx_buffer_append(&b, usual_of(locale, i));
  }
  ldx_buffer_append_char(&b, '}');
  return ldx_buffer_string(&b);
}

const char *ldx_mongo_collation_short(ldx_arena *arena, const char *json) {
  bson_t collation;
  bson_iter_t iter;
  ldx_buffer b, value;
  if (!ldx_mongo_parse(json, "the collation", &collation, NULL)) return json;
  const char *locale = ldx_mongo_text_at(&collation, "locale"), *separator = "{";
  ldx_buffer_init(&b, arena);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    if (!bson_iter_init_find(&iter, &collation, fields[i].name)) continue;
    ldx_buffer_init(&value, arena);
    ldx_mongo_form(&value, &iter);
    if (!strcmp(ldx_buffer_string(&value), usual_of(locale, i))) continue;
    ldx_buffer_appendf(&b, "%s\"%s\": %s", separator, fields[i].name, ldx_buffer_string(&value));
    separator = ", ";
  }
  ldx_buffer_append_char(&b, '}');
  bson_destroy(&collation);
  return ldx_buffer_string(&b);
}

/* Explaining a search reads nothing, and needs no collection. */
static const char *ask(ldx_mongo_collations *collations, const bson_t *given, ldx_error *error) {
  bson_t *command = BCON_NEW("explain", "{", "find", BCON_UTF8("lunadex.collation"), "filter", "{", "}", "collation",
                             BCON_DOCUMENT(given), "}", "verbosity", BCON_UTF8("queryPlanner"));
  bson_t reply;
  const char *form = NULL;
  if (ldx_mongo_command(collations->session, NULL, command, &reply, error)) {
    bson_t complete;
    bool told = ldx_mongo_document_at(&reply, "queryPlanner.collation", &complete);
    form = ldx_mongo_collation_form(collations->arena, told ? &complete : given);
  } else if (error->code == LDX_ERROR_PERMISSION || error->code == LDX_ERROR_UNSUPPORTED) {
    ldx_error_clear(error);
    form = ldx_mongo_collation_form(collations->arena, given);
  } else if (ldx_error_retry(error->code) == LDX_RETRY_NEVER && error->code != LDX_ERROR_AUTHENTICATION) {
    error->code = LDX_ERROR_INVALID_DEFINITION;
    ldx_error_hint(error, "A collation is {\"locale\": \"en\", \"strength\": 2}, say; the manual lists the locales.");
  }
  bson_destroy(&reply);
  bson_destroy(command);
  return form;
}

static bool is_simple(const bson_t *collation) {
  return !strcmp(ldx_mongo_text_at(collation, "locale"), "simple");
}

const char *ldx_mongo_collation_complete(ldx_mongo_collations *collations, ldx_arena *arena, const char *json,
                                         ldx_error *error) {
  bson_t given;
  if (!ldx_mongo_parse(json, "the collation", &given, error)) return NULL;
  const char *complete = NULL;
  if (bson_empty(&given)) {
    ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "the collation is empty");
  } else if (is_simple(&given)) {
    complete = LDX_MONGO_SIMPLE;
  } else if (!collations) {
    complete = ldx_mongo_collation_form(arena, &given);
  } else {
    answer *known = collations->answers;
    while (known && strcmp(known->given, json) != 0) known = known->next;
    if (!known) {
      const char *form = ask(collations, &given, error);
      if (form) {
        known = LDX_ARENA_NEW(collations->arena, answer, 1);
        *known = (answer){ldx_arena_strdup(collations->arena, json), form, collations->answers};
        collations->answers = known;
      }
    }
    if (known) complete = ldx_arena_strdup(arena, known->complete);
  }
  bson_destroy(&given);
  return complete;
}

ldx_mongo_collations *ldx_mongo_collations_new(ldx_session *session) {
  ldx_mongo_collations *collations = calloc(1, sizeof *collations);
  if (!collations) abort(); /* as the arena does */
  collations->session = session;
  collations->arena = ldx_arena_new();
  return collations;
}

void ldx_mongo_collations_free(ldx_mongo_collations *collations) {
  if (!collations) return;
  ldx_arena_free(collations->arena);
  free(collations);
}
