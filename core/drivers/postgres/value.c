#include "value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

/* --- parameters ----------------------------------------------------------------------------------------------------- */

static void append_bytes(ldx_buffer *b, const ldx_value *value) {
  ldx_buffer_append(b, "\\x");
  for (size_t i = 0; i < value->length; i++) ldx_buffer_appendf(b, "%02x", (unsigned char)value->text[i]);
}

static bool append_value(ldx_buffer *b, const ldx_value *value, ldx_error *error);

static bool append_item(ldx_buffer *b, ldx_arena *arena, const ldx_value *item, ldx_error *error) {
  if (item->kind == LDX_VALUE_NULL) {
    ldx_buffer_append(b, "NULL");
    return true;
  }
  if (item->kind == LDX_VALUE_LIST || item->kind == LDX_VALUE_DOCUMENT) return append_value(b, item, error);
  ldx_buffer text;
  ldx_buffer_init(&text, arena);
  if (!append_value(&text, item, error)) return false;
  ldx_buffer_append_char(b, '"');
  for (const char *p = ldx_buffer_string(&text); *p; p++) {
    if (*p == '"' || *p == '\\') ldx_buffer_append_char(b, '\\');
    ldx_buffer_append_char(b, *p);
  }
  ldx_buffer_append_char(b, '"');
  return true;
}

static bool append_value(ldx_buffer *b, const ldx_value *value, ldx_error *error) {
  switch (value->kind) {
  case LDX_VALUE_BOOLEAN:
    ldx_buffer_append(b, value->boolean ? "true" : "false");
    return true;
  case LDX_VALUE_INTEGER:
  case LDX_VALUE_LONG:
    ldx_buffer_appendf(b, "%" PRId64, value->integer);
    return true;
  case LDX_VALUE_NUMBER:
    ldx_buffer_append_number(b, value->number);
    return true;
  case LDX_VALUE_BINARY:
    append_bytes(b, value);
    return true;
  case LDX_VALUE_TEXT:
  case LDX_VALUE_DECIMAL:
    if (memchr(value->text, '\0', value->length)) {
      ldx_error_set(error, LDX_ERROR_USAGE, "a parameter has a zero byte, which no text of PostgreSQL can hold");
      ldx_error_hint(error, "For a bytea give lunadex.bson.binary(bytes).");
      return false;
    }
    ldx_buffer_append_bytes(b, value->text, value->length);
    return true;
  case LDX_VALUE_LIST:
    ldx_buffer_append_char(b, '{');
    for (size_t i = 0; i < value->count; i++) {
      if (i) ldx_buffer_append_char(b, ',');
      if (!append_item(b, b->arena, &value->items[i], error)) return false;
    }
    ldx_buffer_append_char(b, '}');
    return true;
  case LDX_VALUE_DOCUMENT:
    if (!value->count) { /* `{}` is both; here it can only be meant as a list */
      ldx_buffer_append(b, "{}");
      return true;
    }
    /* fall through */
  default:
    ldx_error_set(error, LDX_ERROR_USAGE, "a parameter is a %s",
                  value->kind == LDX_VALUE_DOCUMENT ? "table with names" : "value that only MongoDB has");
    ldx_error_hint(error, "Parameters are texts, numbers, booleans, nil, and lists of these.");
    return false;
  }
}

bool ldx_pg_parameter(ldx_arena *arena, const ldx_value *value, const char **text, ldx_error *error) {
  *text = NULL;
  if (value->kind == LDX_VALUE_NULL) return true;
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  if (!append_value(&b, value, error)) return false;
  *text = ldx_buffer_string(&b);
  return true;
}

/* --- columns -------------------------------------------------------------------------------------------------------- */

/* From pg_type.dat; numbers of built-in types never change. For ldx_value_read; a capital is an array of them. */
static char type_letter(Oid type) {
  switch (type) {
  case 16:
    return 'b'; /* bool */
  case 17:
    return 'x'; /* bytea */
  case 20:
  case 21:
  case 23:
  case 26:
    return 'i'; /* int8, int2, int4, oid */
  case 700:
  case 701:
    return 'f'; /* float4, float8 */
  case 1700:
    return 'n'; /* numeric */
  case 1000:
    return 'B';
  case 1001:
    return 'X';
  case 1005:
  case 1007:
  case 1016:
  case 1028:
    return 'I';
  case 1021:
  case 1022:
    return 'F';
  case 1231:
    return 'N';
  case 1002: /* "char" */
  case 1003: /* name */
  case 1009: /* text */
  case 1014: /* bpchar */
  case 1015: /* varchar */
  case 1115: /* timestamp */
  case 1182: /* date */
  case 1183: /* time */
  case 1185: /* timestamptz */
  case 2951: /* uuid */
    return 'S';
  default:
    return 's';
  }
}

typedef struct array_reader {
  ldx_arena *arena;
  const char *at;
  char type;
} array_reader;

/* An element between quotation marks, or up to the next comma or brace. */
static ldx_value read_element(array_reader *r) {
  ldx_buffer text;
  bool quoted = *r->at == '"';
  ldx_buffer_init(&text, r->arena);
  if (quoted) r->at++;
  for (; *r->at && (quoted ? *r->at != '"' : *r->at != ',' && *r->at != '}'); r->at++) {
    if (*r->at == '\\' && r->at[1]) r->at++;
    ldx_buffer_append_char(&text, *r->at);
  }
  if (quoted && *r->at) r->at++;
  const char *word = ldx_buffer_string(&text);
  if (!quoted && !strcmp(word, "NULL")) return (ldx_value){.kind = LDX_VALUE_NULL};
  return ldx_value_read(r->arena, word, text.length, r->type);
}

/* At a brace; the server nests no deeper than six. */
static ldx_value read_array(array_reader *r) {
  ldx_value *items = NULL;
  size_t count = 0, room = 0;
  r->at++;
  while (*r->at && *r->at != '}') {
    if (count == room) {
      ldx_value *more = LDX_ARENA_NEW(r->arena, ldx_value, room * 2 + 8);
      if (count) memcpy(more, items, count * sizeof *items);
      items = more;
      room = room * 2 + 8;
    }
    items[count++] = *r->at == '{' ? read_array(r) : read_element(r);
    if (*r->at == ',') r->at++;
  }
  if (*r->at) r->at++;
  return (ldx_value){.kind = LDX_VALUE_LIST, .items = items, .count = count};
}

ldx_value ldx_pg_value(ldx_arena *arena, const PGresult *result, int row, int column) {
  if (PQgetisnull(result, row, column)) return (ldx_value){.kind = LDX_VALUE_NULL};
  size_t length = (size_t)PQgetlength(result, row, column);
  const char *text = ldx_arena_strndup(arena, PQgetvalue(result, row, column), length);
  char type = type_letter(PQftype(result, column));
  if (type >= 'a') return ldx_value_read(arena, text, length, type);
  /* Where it does not begin at 1, the bounds stand before it: [0:2]={…}. */
  array_reader reader = {arena, strchr(text, '{'), (char)(type | 32)};
  return reader.at ? read_array(&reader) : ldx_value_read(arena, text, length, 's');
}
