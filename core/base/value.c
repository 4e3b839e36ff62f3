#include "lunadex/value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static ldx_value text_value(const char *text, size_t length) {
  return (ldx_value){.kind = LDX_VALUE_TEXT, .text = text, .length = length};
}

/* What every double of so many digits gives back unchanged. */
enum { SAFE_DIGITS = 15 };

/* Whether a double holds all digits of a decimal number. */
static bool is_safe(const char *text) {
  int digits = 0;
  for (const char *p = text + strspn(text, "-+0."); *p && *p != 'e' && *p != 'E'; p++)
    if (*p >= '0' && *p <= '9' && ++digits > SAFE_DIGITS) return false;
  return true;
}

static bool read_integer(const char *text, int64_t *integer) {
  char *end;
  errno = 0;
  *integer = strtoll(text, &end, 10);
  return end != text && !*end && errno == 0;
}

static bool read_number(const char *text, double *number) {
  char *end;
  *number = strtod(text, &end);
  return end != text && !*end;
}

static int digit(char c) {
  return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

static ldx_value read_bytes(ldx_arena *arena, const char *text, size_t length) {
  if (length < 2 || text[0] != '\\' || text[1] != 'x') return text_value(text, length);
  size_t count = (length - 2) / 2;
  char *bytes = ldx_arena_alloc(arena, count + 1);
  for (size_t i = 0; i < count; i++) bytes[i] = (char)(digit(text[2 + 2 * i]) << 4 | digit(text[3 + 2 * i]));
  return text_value(bytes, count);
}

ldx_value ldx_value_read(ldx_arena *arena, const char *text, size_t length, char type) {
  ldx_value value = {.kind = LDX_VALUE_NULL};
  if (!text) return value;
  switch (type) {
  case 'b':
    return (ldx_value){.kind = LDX_VALUE_BOOLEAN, .boolean = *text == 't'};
  case 'i':
  case 'n':
    value.kind = LDX_VALUE_INTEGER;
    if (read_integer(text, &value.integer)) return value;
    if (type == 'n' && !is_safe(text)) break;
    /* fall through */
  case 'f':
    value.kind = LDX_VALUE_NUMBER;
    if (read_number(text, &value.number) && (type != 'n' || isfinite(value.number) || !strpbrk(text, "0123456789")))
      return value;
    break;
  case 'x':
    return read_bytes(arena, text, length);
  default:
    break;
  }
  return text_value(text, length);
}

ldx_result *ldx_result_of(ldx_arena *arena, const char *const *columns, const char *types, const char *const *texts,
                          size_t row_count, const char *command) {
  ldx_result *result = LDX_ARENA_NEW(arena, ldx_result, 1);
  size_t count = result->column_count = strlen(types);
  result->row_count = row_count;
  result->command = command;
  result->affected = -1;
  result->columns = LDX_ARENA_NEW(arena, const char *, count + 1);
  result->values = LDX_ARENA_NEW(arena, ldx_value, row_count * count + 1);
  for (size_t i = 0; i < count; i++) result->columns[i] = columns[i];
  for (size_t i = 0; i < row_count * count; i++)
    result->values[i] = ldx_value_read(arena, texts[i], texts[i] ? strlen(texts[i]) : 0, types[i % count]);
  return result;
}
