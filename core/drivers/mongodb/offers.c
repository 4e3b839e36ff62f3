/* offers.c: what this server has: languages for text indexes, storage engines and their settings. */
#include <string.h>
#include <strings.h>

#include "check.h"
#include "json.h"
#include "session.h"
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

/* What WT_SESSION.create takes. */
static const char *const settings[] = {"access_pattern_hint",
                                       "allocation_size",
                                       "app_metadata",
                                       "assert",
                                       "block_allocation",
                                       "block_compressor",
                                       "cache_resident",
                                       "checksum",
                                       "colgroups",
                                       "collator",
                                       "columns",
                                       "dictionary",
                                       "encryption",
                                       "exclusive",
                                       "extractor",
                                       "format",
                                       "huffman_key",
                                       "huffman_value",
                                       "ignore_in_memory_cache_size",
                                       "immutable",
                                       "import",
                                       "in_memory",
                                       "internal_item_max",
                                       "internal_key_max",
                                       "internal_key_truncate",
                                       "internal_page_max",
                                       "key_format",
                                       "key_gap",
                                       "leaf_item_max",
                                       "leaf_key_max",
                                       "leaf_page_max",
                                       "leaf_value_max",
                                       "log",
                                       "lsm",
                                       "memory_page_image_max",
                                       "memory_page_max",
                                       "os_cache_dirty_max",
                                       "os_cache_max",
                                       "prefix_compression",
                                       "prefix_compression_min",
                                       "readonly",
                                       "source",
                                       "split_deepen_min_child",
                                       "split_deepen_per_child",
                                       "split_pct",
                                       "tiered_object",
                                       "tiered_storage",
                                       "type",
                                       "value_format",
                                       "verbose",
                                       "write_timestamp_usage"};

static bool is_setting(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (strlen(settings[i]) == length && !strncmp(settings[i], name, length)) return true;
  return false;
}

/* "a=1,b=(c=2,d=3)": whether its brackets are balanced, and all names outside of them known. Their values the engine alone
 * can judge. */
static bool check_settings(const char *text, ldx_error *error) {
  int depth = 0;
  const char *name = text;
  bool named = false; /* this setting's name has been seen */
  for (const char *at = text;; at++) {
    if (!depth && !named && (*at == '=' || *at == ',' || !*at)) {
      size_t length = (size_t)(at - name);
      if (length && !is_setting(name, length))
        return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION,
                             "configString has the setting \"%.*s\", which WiredTiger does not know", (int)length,
                             name);
      named = true;
    }
    if (!*at) break;
    depth += *at == '(' || *at == '[';
    depth -= *at == ')' || *at == ']';
    if (depth < 0) break;
    if (!depth && *at == ',') {
      named = false;
      name = at + 1 + strspn(at + 1, " ");
    }
  }
  return !depth || refuse(error, "configString has brackets that do not match", NULL);
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
    if (session->info.version_number < 90000 && !check_settings(bson_iter_utf8(&option, NULL), error)) return false;
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
