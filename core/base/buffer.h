/* buffer.h: a string that grows. In an arena it dies with the arena; without one it is malloc'ed and the caller frees
 * it. Belongs to one thread at a time. Memory exhaustion aborts, as in the arena.
 */
#ifndef LUNADEX_BUFFER_H
#define LUNADEX_BUFFER_H

#include <stddef.h>

#include "lunadex/arena.h"

typedef struct ldx_buffer {
  ldx_arena *arena; /* NULL: malloc */
  char *data;       /* NULL until the first append; zero-terminated afterwards */
  size_t length;    /* without the terminator */
  size_t capacity;
} ldx_buffer;

/* Acquires nothing yet; `arena` may be NULL. */
void ldx_buffer_init(ldx_buffer *buffer, ldx_arena *arena);
/* Frees a malloc'ed buffer and empties any; idempotent. */
void ldx_buffer_free(ldx_buffer *buffer);

void ldx_buffer_append(ldx_buffer *buffer, const char *text); /* NULL appends nothing */
void ldx_buffer_append_bytes(ldx_buffer *buffer, const char *bytes, size_t length);
void ldx_buffer_append_char(ldx_buffer *buffer, char c);
void ldx_buffer_appendf(ldx_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* With as few digits as it is told from others by: 19.99, not 19.989999999999998; or "NaN", "Infinity", "-Infinity". */
void ldx_buffer_append_number(ldx_buffer *buffer, double number);
/* A time in seconds, as long as one has been at something: 0:48, 1:02:03, 2 days 3:04:05. */
void ldx_buffer_append_age(ldx_buffer *buffer, double seconds);

/* The text so far, "" if there is none; good until the next call on this buffer. Of an arena's buffer it may be kept. */
char *ldx_buffer_string(ldx_buffer *buffer);
/* Empties it but keeps the memory. */
void ldx_buffer_clear(ldx_buffer *buffer);

#endif
