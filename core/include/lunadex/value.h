/* value.h: what statements take and give: values of a database as both sides of the core know them, whatever the server
 * writes them as. A value and all that it points to belong to one arena, and nothing in it changes once it is made.
 */
#ifndef LUNADEX_VALUE_H
#define LUNADEX_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "lunadex/arena.h"

typedef enum ldx_value_kind {
  LDX_VALUE_NULL,
  LDX_VALUE_BOOLEAN,
  LDX_VALUE_INTEGER,
  LDX_VALUE_NUMBER,
  LDX_VALUE_TEXT,     /* may hold zero bytes */
  LDX_VALUE_LIST,     /* an array */
  LDX_VALUE_DOCUMENT, /* names with values, in an order that counts */
  /* What Lua has no type for: */
  LDX_VALUE_BINARY,    /* bytes; `integer` is MongoDB's subtype */
  LDX_VALUE_RAW_TEXT,  /* MongoDB: a text that is no UTF-8, and is given back as it came */
  LDX_VALUE_DATE,      /* `integer`: milliseconds since 1970 */
  LDX_VALUE_LONG,      /* `integer`, of 64 bits even if it is small */
  LDX_VALUE_DECIMAL,   /* as text */
  LDX_VALUE_OBJECT_ID, /* 24 hexadecimal digits */
  LDX_VALUE_TIMESTAMP, /* `integer`: seconds << 32 | increment */
  LDX_VALUE_REGEX,     /* the pattern as text, `options` */
  LDX_VALUE_CODE,      /* JavaScript as text */
  LDX_VALUE_JSON,      /* any value, as a text of extended JSON; only given, never got */
  LDX_VALUE_MIN_KEY,
  LDX_VALUE_MAX_KEY,
} ldx_value_kind;

typedef struct ldx_value {
  ldx_value_kind kind;
  bool boolean;
  int64_t integer;
  double number;
  const char *text; /* zero-terminated */
  size_t length;    /* of it */
  const char *options;
  const struct ldx_value *items; /* LIST, DOCUMENT */
  const char *const *names;      /* DOCUMENT */
  size_t count;                  /* of both */
} ldx_value;

/* Rows of statements, and of what is made to look like them. */
typedef struct ldx_result {
  size_t column_count, row_count;
  const char **columns; /* NULL: each row is a document, its only value */
  ldx_value *values;    /* row by row */
  const char *command;  /* the server's command tag */
  int64_t affected;     /* rows that were changed; -1: the server does not say */
} ldx_result;

/* What a server wrote as text: 's' text, 'i' integer, 'n' number, 'f' floating point, 'b' boolean, 'x' bytes in
 * hexadecimal digits after "\x". NULL is null. A number ('n') that a double would change stays a text. The text is not
 * copied. */
ldx_value ldx_value_read(ldx_arena *arena, const char *text, size_t length, char type);

/* A result of `row_count` rows of such texts, by the types of the columns, one letter each. */
ldx_result *ldx_result_of(ldx_arena *arena, const char *const *columns, const char *types, const char *const *texts,
                          size_t row_count, const char *command);

#endif
