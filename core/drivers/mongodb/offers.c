/* offers.c: what this server has: languages for text indexes, and storage engines. */
#include <string.h>
#include <strings.h>

#include "check.h"
#include "json.h"
#include "session.h"
#include "settings.h"
#include "spec.h"

static bool refuse(ldx_error *error, const char *message, const char *hint) {
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s", message);
  if (hint) ldx_error_hint(error, "%s", hint);
  return false;
}

/* Of a community server; an Enterprise one can have more. Any case will do. */
static const char *const languages[] = {"none", "danish",    "da", "dutch",      "nl", "english",   "en", "finnish",
                                        "fi",   "french",    "fr", "german",     "de", "hungarian", "hu", "italian",
                                        "it",   "norwegian", "nb", "portuguese", "pt", "romanian",  "ro", "russian",
                                        "ru",   "spanish",   "es", "swedish",    "sv", "turkish",   "tr"};

static bool check_language(const ldx_session *session, const char *language, ldx_error *error) {
  if (session->enterprise) return true;
  for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
    if (!strcasecmp(languages[i], language)) return true;
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION,
                "default_language is \"%.100s\", which the server has no rules for", language);
  ldx_error_hint(error, "It knows danish, dutch, english, finnish, french, german, hungarian, italian, norwegian, "
                        "portuguese, romanian, russian, spanish, swedish and turkish, and \"none\" for no rules.");
  return false;
}

/* `engines` holds names with a space before and after each. */
static bool is_engine(const char *engines, const char *name) {
  size_t length = strlen(name);
  for (const char *at = engines; length && (at = strstr(at, name)); at++)
    if (at > engines && at[-1] == ' ' && at[length] == ' ') return true;
  return false;
}

static bool check_engine(const ldx_session *session, const bson_iter_t *options, ldx_error *error) {
  bson_iter_t option;
  if (strcmp(bson_iter_key(options), "wiredTiger") != 0 || !bson_iter_recurse(options, &option)) return true;
  while (bson_iter_next(&option)) {
    if (strcmp(bson_iter_key(&option), "configString") != 0)
      return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION,
                           "the storage engine wiredTiger has no option %.100s, but configString only",
                           bson_iter_key(&option));
    if (!BSON_ITER_HOLDS_UTF8(&option)) return refuse(error, "configString is a text", NULL);
    /* Later versions may have others. */
    if (session->info.version_number < 90000 && !ldx_mongo_check_settings(bson_iter_utf8(&option, NULL), error))
      return false;
  }
  return true;
}

static bool check_engines(const ldx_session *session, const char *json, ldx_error *error) {
  bson_t document;
  bson_iter_t engine;
  if (!ldx_mongo_parse(json, "storageEngine", &document, error)) return false;
  bool ok = bson_empty(&document) ? refuse(error, "storageEngine is empty", "Leave it out.") : true;
  if (ok) ok = bson_iter_init(&engine, &document);
  while (ok && bson_iter_next(&engine)) {
    const char *name = bson_iter_key(&engine);
    if (*session->engines && !is_engine(session->engines, name)) {
      ok = ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "the server has no storage engine \"%.100s\"", name);
      ldx_error_hint(error, "It has:%s", session->engines);
    } else if (!BSON_ITER_HOLDS_DOCUMENT(&engine)) {
      ok = ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "storageEngine.%.100s is an object", name);
    } else {
      ok = check_engine(session, &engine, error);
    }
  }
  bson_destroy(&document);
  return ok;
}

bool ldx_mongo_check_server(const ldx_session *session, const ldx_definition *d, ldx_error *error) {
  const char *language = ldx_mongo_option(&d->storage, "default_language");
  const char *engines = ldx_mongo_option(&d->storage, "storageEngine");
  if (engines && !check_engines(session, engines, error)) return false;
  if (!language || ldx_mongo_kind_of(d) != LDX_MONGO_TEXT) return true;
  bson_t holder;
  bson_iter_t value;
  ldx_mongo_parse_value(language, &holder, &value);
  bool ok = !BSON_ITER_HOLDS_UTF8(&value) || check_language(session, bson_iter_utf8(&value, NULL), error);
  bson_destroy(&holder);
  return ok;
}
