/* text.c: definitions as people read them. */
#include <string.h>

#include "base/buffer.h"
#include "spec.h"

static const char *short_option(ldx_arena *arena, const char *name, const char *value) {
  return strcmp(name, "collation") == 0 ? ldx_mongo_collation_short(arena, value) : value;
}

/* As its users write it: `{ email: 1, at: -1 } unique, sparse, partial {…}, expireAfterSeconds 3600`. */
static char *text_of(ldx_arena *arena, const ldx_definition *definition) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  ldx_buffer_append(&out, "{ ");
  for (size_t i = 0; i < definition->key_count; i++) {
    const ldx_key *key = &definition->keys[i];
    bool quoted = key->opclass && !ldx_mongo_is_number(key->opclass);
    ldx_buffer_appendf(&out, "%s%s: ", i > 0 ? ", " : "", key->column);
    if (key->opclass)
      ldx_buffer_appendf(&out, quoted ? "\"%s\"" : "%s", key->opclass);
    else
      ldx_buffer_append(&out, key->descending ? "-1" : "1");
  }
  ldx_buffer_append(&out, " }");
  const char *separator = " ";
  if (definition->unique) ldx_buffer_append(&out, " unique"), separator = ", ";
  const ldx_options *lists[] = {&definition->traits, &definition->storage};
  for (size_t l = 0; l < 2; l++) {
    for (size_t i = 0; i < lists[l]->count; i++, separator = ", ") {
      const ldx_option *option = &lists[l]->items[i];
      bool flag = strcmp(option->value, "true") == 0;
      ldx_buffer_append(&out, separator);
      ldx_buffer_appendf(&out, flag ? "%s" : "%s %s", option->name, short_option(arena, option->name, option->value));
    }
    if (l == 0 && definition->predicate)
      ldx_buffer_appendf(&out, "%spartial %s", separator, definition->predicate), separator = ", ";
  }
  return ldx_buffer_string(&out);
}

const ldx_wording ldx_mongo_wording = {
    .text = text_of,
    .predicate = "filter",
    .with_predicate = "is partial",
    .without_predicate = "is not partial",
    .storage = "options",
    .short_option = short_option,
};
