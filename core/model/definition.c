#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/buffer.h"
#include "lunadex/index.h"

static const char *const kind_names[] = {
    [LDX_KIND_INDEX] = "index",
    [LDX_KIND_UNIQUE] = "unique_constraint",
    [LDX_KIND_PRIMARY_KEY] = "primary_key",
    [LDX_KIND_EXCLUSION] = "exclusion_constraint",
    [LDX_KIND_FOREIGN_KEY] = "foreign_key",
};

const char *ldx_kind_name(ldx_kind kind) {
  return kind_names[kind];
}

bool ldx_kind_parse(const char *name, ldx_kind *kind) {
  for (size_t i = 0; i < sizeof kind_names / sizeof *kind_names; i++) {
    if (strcmp(name, kind_names[i]) == 0) {
      *kind = (ldx_kind)i;
      return true;
    }
  }
  return false;
}

bool ldx_fingerprint_equal(ldx_fingerprint a, ldx_fingerprint b) {
  return a.high == b.high && a.low == b.low;
}

/* --- storage options ---------------------------------------------------------------------------------------------- */

/* Whether ALTER INDEX … SET makes a difference of this option good. Of the methods the server brings, only BRIN's range
 * size needs a rebuild; of a method we do not know, everything is taken to shape the index. */
static bool alterable(const char *method, const char *option) {
  if (!*method) return true; /* what makes a difference there is a trait */
  static const char *const known[] = {"btree", "hash", "gin", "gist", "spgist"};
  if (strcmp(method, "brin") == 0) return strcmp(option, "pages_per_range") != 0;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(method, known[i]) == 0) return true;
  return false;
}

static bool is_boolean(const char *option) {
  static const char *const known[] = {"fastupdate", "autosummarize", "deduplicate_items"};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(option, known[i]) == 0) return true;
  return false;
}

/* The server takes any beginning of a word that is no other's, but not a lone "o". */
static bool begins(const char *word, const char *value) {
  size_t length = strlen(value);
  return length > (*word == 'o') && strncasecmp(word, value, length) == 0;
}

/* The server keeps a boolean as it was spelt. Of an option that we do not know, a digit is taken for a number, as that of
 * pages_per_range is, and a single letter for itself. */
static const char *plain_value(const ldx_option *option) {
  static const char *const words[][2] = {{"true", "on"},   {"yes", "on"}, {"on", "on"},
                                         {"false", "off"}, {"no", "off"}, {"off", "off"}};
  const char *value = option->value;
  bool boolean = is_boolean(option->name);
  if (boolean && strcmp(value, "1") == 0) return "on";
  if (boolean && strcmp(value, "0") == 0) return "off";
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (boolean ? begins(words[i][0], value) : strcasecmp(words[i][0], value) == 0) return words[i][1];
  return value;
}

bool ldx_option_equal(const ldx_option *a, const ldx_option *b) {
  return strcmp(a->name, b->name) == 0 && strcmp(plain_value(a), plain_value(b)) == 0;
}

static int compare_options(const void *a, const void *b) {
  return strcmp(((const ldx_option *)a)->name, ((const ldx_option *)b)->name);
}

enum { MAX_OPTIONS = 64 };

/* Copies the options in order of name; those past MAX_OPTIONS, which no server has, are ignored. */
static size_t sorted_options(const ldx_options *options, ldx_option *out) {
  size_t count = options->count < MAX_OPTIONS ? options->count : MAX_OPTIONS;
  if (count > 0) memcpy(out, options->items, count * sizeof *out);
  if (count > 1) qsort(out, count, sizeof *out, compare_options);
  return count;
}

bool ldx_definition_is_unique(const ldx_definition *definition) {
  return definition->kind == LDX_KIND_INDEX
             ? definition->unique
             : definition->kind == LDX_KIND_UNIQUE || definition->kind == LDX_KIND_PRIMARY_KEY;
}

bool ldx_definition_storage_equal(const ldx_definition *declared, const ldx_definition *live) {
  if (declared->tablespace && (!live->tablespace || strcmp(declared->tablespace, live->tablespace) != 0)) return false;
  if (declared->storage.count != live->storage.count) return false;
  ldx_option a[MAX_OPTIONS], b[MAX_OPTIONS];
  size_t count = sorted_options(&declared->storage, a);
  sorted_options(&live->storage, b);
  for (size_t i = 0; i < count; i++)
    if (!ldx_option_equal(&a[i], &b[i])) return false;
  return true;
}

/* --- fingerprint -------------------------------------------------------------------------------------------------- */

ldx_fingerprint ldx_fingerprint_of(const void *bytes, size_t size) {
  XXH128_hash_t hash = XXH3_128bits(bytes, size);
  return (ldx_fingerprint){.high = hash.high64, .low = hash.low64};
}

/* What is hashed, in one go for nearly all definitions. Longer ones are hashed in pieces, each behind the hash of what
 * came before. */
typedef struct feed {
  size_t used;
  char buffer[512];
} feed;

static void feed_long(feed *f, const char *from, size_t size) {
  for (size_t room; size > (room = sizeof f->buffer - f->used); from += room, size -= room) {
    memcpy(f->buffer + f->used, from, room);
    XXH128_hash_t hash = XXH3_128bits(f->buffer, sizeof f->buffer);
    memcpy(f->buffer, &hash, sizeof hash);
    f->used = sizeof hash;
  }
  memcpy(f->buffer + f->used, from, size);
  f->used += size;
}

static inline void feed_bytes(feed *f, const void *bytes, size_t size) {
  if (size > sizeof f->buffer - f->used) {
    feed_long(f, bytes, size);
    return;
  }
  memcpy(f->buffer + f->used, bytes, size);
  f->used += size;
}

/* Fields are fed with their terminating zero, so that neighbours cannot run into one another; absent ones as a byte no
 * UTF-8 text holds. */
static inline void feed_text(feed *f, const char *text) {
  if (text)
    feed_bytes(f, text, strlen(text) + 1);
  else
    feed_bytes(f, "\xff", 2);
}

static void feed_number(feed *f, size_t number) {
  feed_bytes(f, &number, sizeof number);
}

static void feed_strings(feed *f, const ldx_strings *strings) {
  feed_number(f, strings->count);
  for (size_t i = 0; i < strings->count; i++) feed_text(f, strings->items[i]);
}

static void feed_options(feed *f, const ldx_options *options, const char *alterable_method) {
  ldx_option sorted[MAX_OPTIONS];
  size_t count = options->count ? sorted_options(options, sorted) : 0;
  for (size_t i = 0; i < count; i++) {
    if (alterable_method && alterable(alterable_method, sorted[i].name)) continue;
    feed_text(f, sorted[i].name);
    feed_text(f, plain_value(&sorted[i]));
  }
  feed_text(f, NULL);
}

ldx_fingerprint ldx_definition_fingerprint(const ldx_definition *definition) {
  feed f;
  f.used = 0;
  const char flags[] = {
      (char)definition->kind,
      (char)definition->unique,
      (char)definition->nulls_not_distinct,
      (char)definition->without_overlaps,
      (char)definition->deferrable,
      (char)definition->initially_deferred,
      (char)definition->not_enforced,
  };
  feed_bytes(&f, flags, sizeof flags);
  feed_text(&f, definition->method);
  feed_number(&f, definition->key_count);
  for (size_t i = 0; i < definition->key_count; i++) {
    const ldx_key *key = &definition->keys[i];
    const char order[] = {(char)key->descending, (char)key->nulls_first};
    feed_bytes(&f, order, sizeof order);
    feed_text(&f, key->column);
    feed_text(&f, key->expression);
    feed_text(&f, key->opclass);
    feed_options(&f, &key->opclass_options, NULL);
    feed_text(&f, key->collation);
    feed_text(&f, key->operator);
  }
  feed_strings(&f, &definition->include);
  feed_text(&f, definition->predicate_form ? definition->predicate_form : definition->predicate);
  if (definition->kind == LDX_KIND_FOREIGN_KEY) {
    feed_text(&f, definition->references.schema);
    feed_text(&f, definition->references.name);
    feed_strings(&f, &definition->references_columns);
    feed_text(&f, definition->on_update);
    feed_text(&f, definition->on_delete);
    feed_strings(&f, &definition->on_delete_columns);
    feed_text(&f, definition->match);
  } else {
    feed_options(&f, &definition->traits, NULL);
    feed_options(&f, &definition->storage, definition->method);
  }
  return ldx_fingerprint_of(f.buffer, f.used);
}

ldx_fingerprint ldx_definition_index_fingerprint(const ldx_definition *key) {
  ldx_definition index = *key;
  index.kind = LDX_KIND_INDEX;
  index.deferrable = index.initially_deferred = false;
  return ldx_definition_fingerprint(&index);
}

/* --- copy --------------------------------------------------------------------------------------------------------- */

void ldx_strings_copy(ldx_arena *arena, ldx_strings *to, const ldx_strings *from) {
  to->count = from->count;
  to->items = from->count ? LDX_ARENA_NEW(arena, const char *, from->count) : NULL;
  for (size_t i = 0; i < from->count; i++) to->items[i] = ldx_arena_strdup(arena, from->items[i]);
}

static void copy_options(ldx_arena *arena, ldx_options *to, const ldx_options *from) {
  to->count = from->count;
  to->items = from->count ? LDX_ARENA_NEW(arena, ldx_option, from->count) : NULL;
  for (size_t i = 0; i < from->count; i++) {
    to->items[i].name = ldx_arena_strdup(arena, from->items[i].name);
    to->items[i].value = ldx_arena_strdup(arena, from->items[i].value);
  }
}

static ldx_name copy_name(ldx_arena *arena, ldx_name name) {
  return (ldx_name){ldx_arena_strdup(arena, name.schema), ldx_arena_strdup(arena, name.name)};
}

void ldx_definition_copy(ldx_arena *arena, ldx_definition *to, const ldx_definition *from) {
  *to = *from;
  to->relation = copy_name(arena, from->relation);
  to->method = ldx_arena_strdup(arena, from->method);
  to->keys = from->key_count ? LDX_ARENA_NEW(arena, ldx_key, from->key_count) : NULL;
  for (size_t i = 0; i < from->key_count; i++) {
    const ldx_key *key = &from->keys[i];
    to->keys[i] = *key;
    to->keys[i].column = ldx_arena_strdup(arena, key->column);
    to->keys[i].expression = ldx_arena_strdup(arena, key->expression);
    to->keys[i].opclass = ldx_arena_strdup(arena, key->opclass);
    copy_options(arena, &to->keys[i].opclass_options, &key->opclass_options);
    to->keys[i].collation = ldx_arena_strdup(arena, key->collation);
    to->keys[i].operator= ldx_arena_strdup(arena, key->operator);
  }
  ldx_strings_copy(arena, &to->include, &from->include);
  to->predicate = ldx_arena_strdup(arena, from->predicate);
  to->predicate_form = ldx_arena_strdup(arena, from->predicate_form);
  copy_options(arena, &to->traits, &from->traits);
  copy_options(arena, &to->storage, &from->storage);
  to->tablespace = ldx_arena_strdup(arena, from->tablespace);
  to->references = copy_name(arena, from->references);
  ldx_strings_copy(arena, &to->references_columns, &from->references_columns);
  to->on_update = ldx_arena_strdup(arena, from->on_update);
  to->on_delete = ldx_arena_strdup(arena, from->on_delete);
  ldx_strings_copy(arena, &to->on_delete_columns, &from->on_delete_columns);
  to->match = ldx_arena_strdup(arena, from->match);
}

/* --- text for people ---------------------------------------------------------------------------------------------- */

static void say_options(ldx_buffer *out, const ldx_options *options) {
  for (size_t i = 0; i < options->count; i++)
    ldx_buffer_appendf(out, "%s%s=%s", i > 0 ? ", " : "", options->items[i].name, options->items[i].value);
}

static void say_strings(ldx_buffer *out, const ldx_strings *strings) {
  for (size_t i = 0; i < strings->count; i++) ldx_buffer_appendf(out, "%s%s", i > 0 ? ", " : "", strings->items[i]);
}

/* A call such as lower(email) reads best bare, anything else needs its brackets to be seen as one key. */
static bool reads_bare(const char *expression) {
  const char *p = expression;
  while (isalnum((unsigned char)*p) || *p == '_' || *p == '.') p++;
  return p != expression && *p == '(' && p[strlen(p) - 1] == ')' && strstr(p, ") ") == NULL && strstr(p, ")::") == NULL;
}

static void say_key(ldx_buffer *out, const ldx_key *key) {
  if (key->column)
    ldx_buffer_append(out, key->column);
  else
    ldx_buffer_appendf(out, reads_bare(key->expression) ? "%s" : "(%s)", key->expression);
  if (key->collation) ldx_buffer_appendf(out, " COLLATE %s", key->collation);
  if (key->opclass) ldx_buffer_appendf(out, " %s", key->opclass);
  if (key->opclass_options.count > 0) {
    ldx_buffer_append(out, " (");
    say_options(out, &key->opclass_options);
    ldx_buffer_append_char(out, ')');
  }
  if (key->descending) ldx_buffer_append(out, " DESC");
  if (key->nulls_first != key->descending) ldx_buffer_append(out, key->nulls_first ? " NULLS FIRST" : " NULLS LAST");
  if (key->operator) ldx_buffer_appendf(out, " WITH %s", key->operator);
}

static void say_name(ldx_buffer *out, ldx_name name) {
  ldx_buffer_appendf(out, "%s%s%s", name.schema ? name.schema : "", name.schema ? "." : "", name.name);
}

static void say_foreign_key(ldx_buffer *out, const ldx_definition *definition) {
  ldx_buffer_append(out, " REFERENCES ");
  say_name(out, definition->references);
  if (definition->references_columns.count > 0) {
    ldx_buffer_append(out, " (");
    say_strings(out, &definition->references_columns);
    ldx_buffer_append_char(out, ')');
  }
  if (strcmp(definition->match, "simple") != 0) ldx_buffer_append(out, " MATCH FULL");
  const char *actions[][2] = {{" ON UPDATE ", definition->on_update}, {" ON DELETE ", definition->on_delete}};
  for (size_t i = 0; i < 2; i++) {
    if (strcmp(actions[i][1], "no action") == 0) continue;
    ldx_buffer_append(out, actions[i][0]);
    for (const char *p = actions[i][1]; *p; p++) ldx_buffer_append_char(out, (char)toupper((unsigned char)*p));
  }
  if (definition->on_delete_columns.count > 0) {
    ldx_buffer_append(out, " (");
    say_strings(out, &definition->on_delete_columns);
    ldx_buffer_append_char(out, ')');
  }
}

char *ldx_definition_text(ldx_arena *arena, const ldx_definition *definition) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  switch (definition->kind) {
  case LDX_KIND_INDEX:
    ldx_buffer_appendf(&out, "%s%s", definition->unique ? "UNIQUE " : "", definition->method);
    break;
  case LDX_KIND_UNIQUE:
    ldx_buffer_append(&out, "UNIQUE CONSTRAINT");
    break;
  case LDX_KIND_PRIMARY_KEY:
    ldx_buffer_append(&out, "PRIMARY KEY");
    break;
  case LDX_KIND_EXCLUSION:
    ldx_buffer_appendf(&out, "EXCLUDE USING %s", definition->method);
    break;
  case LDX_KIND_FOREIGN_KEY:
    ldx_buffer_append(&out, "FOREIGN KEY");
    break;
  }
  ldx_buffer_append(&out, " (");
  for (size_t i = 0; i < definition->key_count; i++) {
    if (i > 0) ldx_buffer_append(&out, ", ");
    bool last = i + 1 == definition->key_count && definition->without_overlaps;
    if (last && definition->kind == LDX_KIND_FOREIGN_KEY) ldx_buffer_append(&out, "PERIOD ");
    say_key(&out, &definition->keys[i]);
    if (last && definition->kind != LDX_KIND_FOREIGN_KEY) ldx_buffer_append(&out, " WITHOUT OVERLAPS");
  }
  ldx_buffer_append_char(&out, ')');
  if (definition->kind == LDX_KIND_FOREIGN_KEY) say_foreign_key(&out, definition);
  if (definition->include.count > 0) {
    ldx_buffer_append(&out, " INCLUDE (");
    say_strings(&out, &definition->include);
    ldx_buffer_append_char(&out, ')');
  }
  if (definition->nulls_not_distinct) ldx_buffer_append(&out, " NULLS NOT DISTINCT");
  if (definition->storage.count > 0) {
    ldx_buffer_append(&out, " WITH (");
    say_options(&out, &definition->storage);
    ldx_buffer_append_char(&out, ')');
  }
  if (definition->tablespace) ldx_buffer_appendf(&out, " TABLESPACE %s", definition->tablespace);
  if (definition->predicate) ldx_buffer_appendf(&out, " WHERE %s", definition->predicate);
  if (definition->deferrable)
    ldx_buffer_append(&out, definition->initially_deferred ? " DEFERRABLE INITIALLY DEFERRED" : " DEFERRABLE");
  if (definition->not_enforced) ldx_buffer_append(&out, " NOT ENFORCED");
  return ldx_buffer_string(&out);
}
