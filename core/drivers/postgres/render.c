#include "render.h"

#include <ctype.h>
#include <string.h>

#include "base/buffer.h"
#include "text.h"

static void append_quoted(ldx_buffer *out, const char *name) {
  ldx_buffer_append_char(out, '"');
  for (const char *p = name; *p; p++) {
    if (*p == '"') ldx_buffer_append_char(out, '"');
    ldx_buffer_append_char(out, *p);
  }
  ldx_buffer_append_char(out, '"');
}

static void append_qualified(ldx_buffer *out, ldx_name name) {
  if (name.schema) {
    append_quoted(out, name.schema);
    ldx_buffer_append_char(out, '.');
  }
  append_quoted(out, name.name);
}

static void append_display(ldx_buffer *out, const char *name) {
  if (!*name || strpbrk(name, ".\"") != NULL)
    append_quoted(out, name);
  else
    ldx_buffer_append(out, name);
}

char *ldx_pg_quote_identifier(ldx_arena *arena, const char *name) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  append_quoted(&out, name);
  return ldx_buffer_string(&out);
}

char *ldx_pg_quote_literal(ldx_arena *arena, const char *text) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  ldx_buffer_append_char(&out, '\'');
  for (const char *p = text; *p; p++) {
    if (*p == '\'') ldx_buffer_append_char(&out, '\'');
    ldx_buffer_append_char(&out, *p);
  }
  ldx_buffer_append_char(&out, '\'');
  return ldx_buffer_string(&out);
}

char *ldx_pg_quote_name(ldx_arena *arena, ldx_name name) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  append_qualified(&out, name);
  return ldx_buffer_string(&out);
}

char *ldx_pg_display_name(ldx_arena *arena, ldx_name name) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  if (name.schema) {
    append_display(&out, name.schema);
    ldx_buffer_append_char(&out, '.');
  }
  append_display(&out, name.name);
  return ldx_buffer_string(&out);
}

/* One part of a name; NULL if there is none. */
static const char *split_part(ldx_arena *arena, const char *text, char **part) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  if (*text == '"') {
    for (text++; *text; text++) {
      if (*text == '"' && *++text != '"') break;
      ldx_buffer_append_char(&out, *text);
    }
    if (text[-1] != '"') return NULL;
  } else {
    while (*text && *text != '.' && *text != '"') ldx_buffer_append_char(&out, *text++);
  }
  *part = ldx_buffer_string(&out);
  return **part ? text : NULL;
}

bool ldx_pg_split_name(ldx_arena *arena, const char *text, ldx_name *out) {
  char *first = NULL, *second = NULL;
  text = split_part(arena, text, &first);
  if (text && *text == '\0') {
    *out = (ldx_name){.schema = NULL, .name = first};
    return true;
  }
  if (!text || *text != '.') return false;
  text = split_part(arena, text + 1, &second);
  if (!text || *text) return false;
  *out = (ldx_name){.schema = first, .name = second};
  return true;
}

/* A name in registry notation, as SQL. What is not a name at all is quoted whole, for the server to refuse. */
static void append_notation(ldx_buffer *out, ldx_arena *arena, const char *text) {
  ldx_name name;
  if (!ldx_pg_split_name(arena, text, &name)) name = (ldx_name){.schema = NULL, .name = text};
  append_qualified(out, name);
}

char *ldx_pg_option_value(ldx_arena *arena, const char *value) {
  bool plain = *value != '\0';
  for (const char *p = value; *p && plain; p++)
    plain = isalnum((unsigned char)*p) || *p == '_' || (*p == '.' && p != value);
  /* A word could be reserved, so that only numbers and the two booleans go unquoted. */
  if (plain && (isdigit((unsigned char)*value) || strcmp(value, "on") == 0 || strcmp(value, "off") == 0 ||
                strcmp(value, "true") == 0 || strcmp(value, "false") == 0))
    return ldx_arena_strdup(arena, value);
  return ldx_pg_quote_literal(arena, value);
}

static void append_options(ldx_buffer *out, ldx_arena *arena, const ldx_options *options) {
  ldx_buffer_append_char(out, '(');
  for (size_t i = 0; i < options->count; i++) {
    if (i > 0) ldx_buffer_append(out, ", ");
    append_quoted(out, options->items[i].name);
    ldx_buffer_append(out, " = ");
    ldx_buffer_append(out, ldx_pg_option_value(arena, options->items[i].value));
  }
  ldx_buffer_append_char(out, ')');
}

static void append_columns(ldx_buffer *out, const ldx_strings *columns) {
  ldx_buffer_append_char(out, '(');
  for (size_t i = 0; i < columns->count; i++) {
    if (i > 0) ldx_buffer_append(out, ", ");
    append_quoted(out, columns->items[i]);
  }
  ldx_buffer_append_char(out, ')');
}

static void append_keys(ldx_buffer *out, ldx_arena *arena, const ldx_definition *definition) {
  ldx_buffer_append_char(out, '(');
  for (size_t i = 0; i < definition->key_count; i++) {
    const ldx_key *key = &definition->keys[i];
    if (i > 0) ldx_buffer_append(out, ", ");
    if (key->column) {
      append_quoted(out, key->column);
    } else {
      ldx_buffer_append_char(out, '(');
      ldx_buffer_append(out, ldx_pg_stable_spelling(arena, key->expression));
      ldx_buffer_append_char(out, ')');
    }
    if (key->collation) {
      ldx_buffer_append(out, " COLLATE ");
      append_notation(out, arena, key->collation);
    }
    if (key->opclass) {
      ldx_buffer_append_char(out, ' ');
      append_notation(out, arena, key->opclass);
    }
    if (key->opclass_options.count > 0) {
      ldx_buffer_append_char(out, ' ');
      append_options(out, arena, &key->opclass_options);
    }
    /* Said only where the method has an order: the others refuse the very words. */
    if (key->descending) ldx_buffer_append(out, " DESC");
    if (key->nulls_first != key->descending) ldx_buffer_append(out, key->nulls_first ? " NULLS FIRST" : " NULLS LAST");
    if (key->operator) ldx_buffer_appendf(out, " WITH %s", key->operator);
    if (definition->without_overlaps && definition->kind != LDX_KIND_INDEX && i + 1 == definition->key_count)
      ldx_buffer_append(out, " WITHOUT OVERLAPS");
  }
  ldx_buffer_append_char(out, ')');
}

static void append_predicate(ldx_buffer *out, ldx_arena *arena, const ldx_definition *definition) {
  if (definition->predicate)
    ldx_buffer_appendf(out, " WHERE (%s)", ldx_pg_stable_spelling(arena, definition->predicate));
}

/* What follows the key list of an index, or of a constraint that has one. */
static void append_storage(ldx_buffer *out, ldx_arena *arena, const ldx_definition *definition) {
  if (definition->storage.count > 0) {
    ldx_buffer_append(out, " WITH ");
    append_options(out, arena, &definition->storage);
  }
}

static char *build_sql(ldx_arena *arena, const ldx_definition *definition, const char *name, ldx_mode mode, bool only,
                       const char *relation_sql) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  ldx_buffer_appendf(&out, "CREATE %sINDEX %s", definition->unique ? "UNIQUE " : "",
                     mode == LDX_MODE_BLOCKING || only ? "" : "CONCURRENTLY ");
  append_quoted(&out, name);
  ldx_buffer_appendf(&out, " ON %s%s USING ", only ? "ONLY " : "", relation_sql);
  append_quoted(&out, definition->method);
  ldx_buffer_append_char(&out, ' ');
  append_keys(&out, arena, definition);
  if (definition->include.count > 0) {
    ldx_buffer_append(&out, " INCLUDE ");
    append_columns(&out, &definition->include);
  }
  if (definition->nulls_not_distinct) ldx_buffer_append(&out, " NULLS NOT DISTINCT");
  append_storage(&out, arena, definition);
  if (definition->tablespace) {
    ldx_buffer_append(&out, " TABLESPACE ");
    append_quoted(&out, definition->tablespace);
  }
  append_predicate(&out, arena, definition);
  return ldx_buffer_string(&out);
}

char *ldx_pg_build_sql(ldx_arena *arena, const ldx_definition *definition, const char *name, ldx_mode mode, bool only) {
  return build_sql(arena, definition, name, mode, only, ldx_pg_quote_name(arena, definition->relation));
}

char *ldx_pg_build_sql_on(ldx_arena *arena, const ldx_definition *definition, const char *name,
                          const char *relation_sql) {
  return build_sql(arena, definition, name, LDX_MODE_BLOCKING, false, relation_sql);
}

static void append_foreign_key(ldx_buffer *out, const ldx_definition *definition) {
  ldx_buffer_append(out, "FOREIGN KEY (");
  for (size_t i = 0; i < definition->key_count; i++) {
    if (i > 0) ldx_buffer_append(out, ", ");
    if (definition->without_overlaps && i + 1 == definition->key_count) ldx_buffer_append(out, "PERIOD ");
    append_quoted(out, definition->keys[i].column);
  }
  ldx_buffer_append(out, ") REFERENCES ");
  append_qualified(out, definition->references);
  const ldx_strings *columns = &definition->references_columns;
  if (columns->count > 0) {
    ldx_buffer_append(out, " (");
    for (size_t i = 0; i < columns->count; i++) {
      if (i > 0) ldx_buffer_append(out, ", ");
      if (definition->without_overlaps && i + 1 == columns->count) ldx_buffer_append(out, "PERIOD ");
      append_quoted(out, columns->items[i]);
    }
    ldx_buffer_append_char(out, ')');
  }
  if (strcmp(definition->match, "full") == 0) ldx_buffer_append(out, " MATCH FULL");
  /* The registry's words are the server's, in lower case. */
  if (strcmp(definition->on_update, "no action") != 0) ldx_buffer_appendf(out, " ON UPDATE %s", definition->on_update);
  if (strcmp(definition->on_delete, "no action") != 0) ldx_buffer_appendf(out, " ON DELETE %s", definition->on_delete);
  if (definition->on_delete_columns.count > 0) {
    ldx_buffer_append_char(out, ' ');
    append_columns(out, &definition->on_delete_columns);
  }
}

char *ldx_pg_constraint_sql(ldx_arena *arena, const ldx_definition *definition) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  switch (definition->kind) {
  case LDX_KIND_FOREIGN_KEY:
    append_foreign_key(&out, definition);
    break;
  case LDX_KIND_EXCLUSION:
    ldx_buffer_append(&out, "EXCLUDE USING ");
    append_quoted(&out, definition->method);
    ldx_buffer_append_char(&out, ' ');
    append_keys(&out, arena, definition);
    break;
  case LDX_KIND_PRIMARY_KEY:
    ldx_buffer_append(&out, "PRIMARY KEY ");
    append_keys(&out, arena, definition);
    break;
  case LDX_KIND_UNIQUE:
  case LDX_KIND_INDEX:
    ldx_buffer_appendf(&out, "UNIQUE %s", definition->nulls_not_distinct ? "NULLS NOT DISTINCT " : "");
    append_keys(&out, arena, definition);
    break;
  }
  if (definition->kind != LDX_KIND_FOREIGN_KEY) {
    if (definition->include.count > 0) {
      ldx_buffer_append(&out, " INCLUDE ");
      append_columns(&out, &definition->include);
    }
    append_storage(&out, arena, definition);
    if (definition->tablespace) {
      ldx_buffer_append(&out, " USING INDEX TABLESPACE ");
      append_quoted(&out, definition->tablespace);
    }
    append_predicate(&out, arena, definition);
  }
  if (definition->deferrable)
    ldx_buffer_append(&out, definition->initially_deferred ? " DEFERRABLE INITIALLY DEFERRED" : " DEFERRABLE");
  if (definition->not_enforced) ldx_buffer_append(&out, " NOT ENFORCED");
  return ldx_buffer_string(&out);
}
