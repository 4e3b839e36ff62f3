/* settings.c: "a=1,b=(c=2,d=3)": whether WiredTiger would take that for an index. It says so itself only to who builds it. */
#include "settings.h"

#include <stdio.h>
#include <string.h>

/* What a setting can be; of the rest the engine alone can judge. */
typedef enum setting_kind { ANYTHING, TRUTH, NUMBER, CHOICE, COMPRESSOR } setting_kind;

typedef struct setting {
  const char *name;
  setting_kind kind;
  double low, high;    /* of a number; `high` 0: there is no end */
  const char *choices; /* as they are told */
} setting;

#define KB 1024.0
#define MB (1024 * KB)
#define TB (1024 * 1024 * MB)

/* What WT_SESSION.create takes (measured on 6.0). */
static const setting settings[] = {
    {.name = "access_pattern_hint", .kind = CHOICE, .choices = "none, random, sequential"},
    {.name = "allocation_size", .kind = NUMBER, .low = 512, .high = 128 * MB},
    {.name = "app_metadata"},
    {.name = "assert"},
    {.name = "block_allocation", .kind = CHOICE, .choices = "best, first"},
    {.name = "block_compressor", .kind = COMPRESSOR, .choices = "none, snappy, zlib, zstd"},
    {.name = "cache_resident", .kind = TRUTH},
    {.name = "checksum", .kind = CHOICE, .choices = "on, off, uncompressed, unencrypted"},
    {.name = "colgroups"},
    {.name = "collator"},
    {.name = "columns"},
    {.name = "dictionary", .kind = NUMBER},
    {.name = "encryption"},
    {.name = "exclusive", .kind = TRUTH},
    {.name = "extractor"},
    {.name = "format", .kind = CHOICE, .choices = "btree"},
    {.name = "huffman_key"},
    {.name = "huffman_value"},
    {.name = "ignore_in_memory_cache_size", .kind = TRUTH},
    {.name = "immutable", .kind = TRUTH},
    {.name = "import"},
    {.name = "in_memory"},
    {.name = "internal_item_max", .kind = NUMBER},
    {.name = "internal_key_max", .kind = NUMBER},
    {.name = "internal_key_truncate", .kind = TRUTH},
    {.name = "internal_page_max", .kind = NUMBER, .low = 512, .high = 512 * MB},
    {.name = "key_format"},
    {.name = "key_gap", .kind = NUMBER},
    {.name = "leaf_item_max", .kind = NUMBER},
    {.name = "leaf_key_max", .kind = NUMBER},
    {.name = "leaf_page_max", .kind = NUMBER, .low = 512, .high = 512 * MB},
    {.name = "leaf_value_max", .kind = NUMBER},
    {.name = "log"},
    {.name = "lsm"},
    {.name = "memory_page_image_max", .kind = NUMBER},
    {.name = "memory_page_max", .kind = NUMBER, .low = 512, .high = 10 * TB},
    {.name = "os_cache_dirty_max", .kind = NUMBER},
    {.name = "os_cache_max", .kind = NUMBER},
    {.name = "prefix_compression", .kind = TRUTH},
    {.name = "prefix_compression_min", .kind = NUMBER},
    {.name = "readonly", .kind = TRUTH},
    {.name = "source"},
    {.name = "split_deepen_min_child"},
    {.name = "split_deepen_per_child"},
    {.name = "split_pct", .kind = NUMBER, .low = 50, .high = 100},
    {.name = "tiered_object", .kind = TRUTH},
    {.name = "tiered_storage"},
    {.name = "type"},
    {.name = "value_format"},
    {.name = "verbose"},
    {.name = "write_timestamp_usage",
     .kind = CHOICE,
     .choices = "always, key_consistent, mixed_mode, never, none, ordered"},
};

/* A part of the text: a name, or a value without the blanks around it. */
typedef struct span {
  const char *text;
  size_t length;
} span;

static bool is(span s, const char *word) {
  return strlen(word) == s.length && !strncmp(word, s.text, s.length);
}

static const setting *find_setting(span name) {
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (is(name, settings[i].name)) return &settings[i];
  return NULL;
}

/* "16KB", "4096", "1M": digits and units. */
static bool read_number(span value, double *number) {
  static const char units[] = "bkmgtp";
  size_t i = value.length && *value.text == '-';
  const size_t first = i;
  *number = 0;
  for (; i < value.length && value.text[i] >= '0' && value.text[i] <= '9'; i++)
    *number = *number * 10 + (value.text[i] - '0');
  if (i == first) return false;
  for (; i < value.length; i++) {
    const char *unit = strchr(units, value.text[i] | ' ');
    if (!unit || !*unit) return false;
    for (const char *each = units; each < unit; each++) *number *= KB;
  }
  if (first) *number = -*number;
  return true;
}

/* A word may stand in quotes, and where there are several to choose from in brackets. */
static span bare(span value, bool brackets) {
  char open = value.length > 1 ? *value.text : '\0', end = value.length > 1 ? value.text[value.length - 1] : '\0';
  bool wrapped =
      (open == '"' && end == '"') || (brackets && ((open == '(' && end == ')') || (open == '[' && end == ']')));
  return wrapped ? (span){value.text + 1, value.length - 2} : value;
}

static bool is_choice(const char *choices, span value) {
  for (const char *at = choices; *at;) {
    size_t length = strcspn(at, ",");
    if (length == value.length && !strncmp(at, value.text, length)) return true;
    at += length + strspn(at + length, ", ");
  }
  return false;
}

static bool refuse_value(const setting *s, span value, const char *wanted, ldx_error *error) {
  return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "configString has %s=%.*s, which is %s", s->name,
                       (int)value.length, value.text, wanted);
}

static bool check_value(const setting *s, span value, ldx_error *error) {
  double number;
  char wanted[128];
  switch (s->kind) {
  case ANYTHING:
    break;
  case TRUTH:
    if (!value.length || is(value, "true") || is(value, "false")) break;
    if (strspn(value.text, "01") >= value.length && read_number(value, &number) && number <= 1) break;
    return refuse_value(s, value, "neither true nor false", error);
  case NUMBER:
    if (read_number(value, &number) && number >= s->low && (s->high <= 0 || number <= s->high)) break;
    snprintf(wanted, sizeof wanted, s->high > 0 ? "no number from %.0f to %.0f" : "no number from %.0f on", s->low,
             s->high);
    return refuse_value(s, value, wanted, error);
  case CHOICE:
  case COMPRESSOR:
    if (is_choice(s->choices, bare(value, s->kind == CHOICE)) || (s->kind == COMPRESSOR && !bare(value, false).length))
      break;
    snprintf(wanted, sizeof wanted, "none of %s", s->choices);
    return refuse_value(s, value, wanted, error);
  }
  return true;
}

/* To the end of the setting that begins there; NULL: its brackets or quotes do not match. `equals`: where its name ends. */
static const char *setting_end(const char *text, const char **equals) {
  int depth = 0;
  bool quoted = false;
  *equals = NULL;
  for (const char *at = text;; at++) {
    if (!*at || (!depth && !quoted && *at == ',')) {
      if (!*equals) *equals = at;
      return depth || quoted ? NULL : at;
    }
    if (*at == '"') quoted = !quoted;
    if (quoted) continue;
    if (!depth && !*equals && (*at == '=' || *at == ':')) *equals = at;
    depth += *at == '(' || *at == '[';
    depth -= *at == ')' || *at == ']';
    if (depth < 0) return NULL;
  }
}

static span between(const char *from, const char *to) {
  while (from < to && *from == ' ') from++;
  while (to > from && to[-1] == ' ') to--;
  return (span){from, (size_t)(to - from)};
}

/* "a=1,b=(c=2,d=3)". */
bool ldx_mongo_check_settings(const char *text, ldx_error *error) {
  for (const char *at = text, *equals;; at++) {
    const char *end = setting_end(at, &equals);
    if (!end)
      return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION,
                           "configString has brackets or quotes that do not match");
    span name = between(at, equals);
    const setting *s = find_setting(name);
    if (name.length && !s)
      return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION,
                           "configString has the setting \"%.*s\", which WiredTiger does not know", (int)name.length,
                           name.text);
    if (s && !check_value(s, equals < end ? between(equals + 1, end) : between(end, end), error)) return false;
    if (!*end) return true;
    at = end;
  }
}
