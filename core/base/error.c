#include "lunadex/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  ldx_retry retry;
} codes[] = {
#define X(id, name, retry) [LDX_ERROR_##id] = {name, LDX_RETRY_##retry},
    LDX_ERROR_CODES(X)
#undef X
};

enum { CODE_COUNT = sizeof codes / sizeof codes[0] };

const char *ldx_error_name(ldx_error_code code) {
  return (unsigned)code < CODE_COUNT ? codes[code].name : "internal";
}

ldx_retry ldx_error_retry(ldx_error_code code) {
  return (unsigned)code < CODE_COUNT ? codes[code].retry : LDX_RETRY_NEVER;
}

void ldx_error_clear(ldx_error *error) {
  if (!error) return;
  /* Not the whole struct: it is some kilobytes, and this runs once per declaration. */
  error->code = LDX_ERROR_NONE;
  error->native[0] = error->message[0] = error->detail[0] = error->hint[0] = error->context[0] = '\0';
}

bool ldx_error_set(ldx_error *error, ldx_error_code code, const char *format, ...) {
  if (!error) return false;
  /* By way of a copy: a caller that rewords an error passes its old message. */
  char message[sizeof error->message];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  ldx_error_clear(error);
  error->code = code;
  if (length >= (int)sizeof message) length = (int)sizeof message - 1;
  if (length > 0) memcpy(error->message, message, (size_t)length + 1);
  return false;
}

void ldx_error_hint(ldx_error *error, const char *format, ...) {
  if (!error) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(error->hint, sizeof error->hint, format, arguments);
  va_end(arguments);
}
