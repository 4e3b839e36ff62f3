#include "base/buffer.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void out_of_memory(size_t size) {
  fprintf(stderr, "lunadex: out of memory (%zu bytes)\n", size);
  abort();
}

/* Makes room for `more` bytes and the terminator. */
static void reserve(ldx_buffer *buffer, size_t more) {
  size_t need = buffer->length + more + 1;
  if (need < more) out_of_memory(more); /* overflow */
  if (need <= buffer->capacity) return;
  size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
  while (capacity < need) capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
  char *data;
  if (buffer->arena) {
    /* The old text stays behind in the arena; doubling keeps that waste below what is in use. */
    data = ldx_arena_alloc(buffer->arena, capacity);
    if (buffer->length > 0) memcpy(data, buffer->data, buffer->length);
  } else {
    data = realloc(buffer->data, capacity);
    if (!data) {
      out_of_memory(capacity);
      return;
    }
  }
  data[buffer->length] = '\0';
  buffer->data = data;
  buffer->capacity = capacity;
}

void ldx_buffer_init(ldx_buffer *buffer, ldx_arena *arena) {
  *buffer = (ldx_buffer){.arena = arena};
}

void ldx_buffer_free(ldx_buffer *buffer) {
  if (!buffer->arena) free(buffer->data);
  *buffer = (ldx_buffer){.arena = buffer->arena};
}

void ldx_buffer_append_bytes(ldx_buffer *buffer, const char *bytes, size_t length) {
  reserve(buffer, length);
  if (length > 0) memcpy(buffer->data + buffer->length, bytes, length);
  buffer->length += length;
  buffer->data[buffer->length] = '\0';
}

void ldx_buffer_append(ldx_buffer *buffer, const char *text) {
  if (text) ldx_buffer_append_bytes(buffer, text, strlen(text));
}

void ldx_buffer_append_char(ldx_buffer *buffer, char c) {
  ldx_buffer_append_bytes(buffer, &c, 1);
}

void ldx_buffer_appendf(ldx_buffer *buffer, const char *format, ...) {
  va_list arguments;
  va_list again;
  va_start(arguments, format);
  va_copy(again, arguments);
  /* Mostly there is room for it. */
  size_t room = buffer->capacity - buffer->length;
  int length = vsnprintf(room ? buffer->data + buffer->length : NULL, room, format, arguments);
  va_end(arguments);
  if (length > 0) {
    reserve(buffer, (size_t)length);
    if ((size_t)length >= room) vsnprintf(buffer->data + buffer->length, (size_t)length + 1, format, again);
    buffer->length += (size_t)length;
  }
  va_end(again);
}

static void append_finite(ldx_buffer *buffer, double number) {
  char text[32];
  for (int digits = DBL_DIG; digits <= DBL_DECIMAL_DIG; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  ldx_buffer_append(buffer, text);
}

void ldx_buffer_append_number(ldx_buffer *buffer, double number) {
  if (isnan(number))
    ldx_buffer_append(buffer, "NaN");
  else if (isinf(number))
    ldx_buffer_append(buffer, number < 0 ? "-Infinity" : "Infinity");
  else
    append_finite(buffer, number);
}

void ldx_buffer_append_age(ldx_buffer *buffer, double seconds) {
  const long age = seconds > 0 ? (long)seconds : 0, minute = age / 60 % 60, second = age % 60;
  if (age >= 86400) ldx_buffer_appendf(buffer, "%ld days ", age / 86400);
  if (age >= 3600)
    ldx_buffer_appendf(buffer, "%ld:%02ld:%02ld", age / 3600 % 24, minute, second);
  else
    ldx_buffer_appendf(buffer, "%ld:%02ld", minute, second);
}

char *ldx_buffer_string(ldx_buffer *buffer) {
  reserve(buffer, 0);
  return buffer->data;
}

void ldx_buffer_clear(ldx_buffer *buffer) {
  buffer->length = 0;
  if (buffer->data) buffer->data[0] = '\0';
}
