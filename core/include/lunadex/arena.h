/* arena.h: memory by region. Everything allocated from an arena dies with it; nothing in it is freed alone.
 * An arena belongs to one thread at a time. Memory exhaustion aborts the process with a message: the sizes here follow
 * the catalog, and no caller could go on without it.
 */
#ifndef LUNADEX_ARENA_H
#define LUNADEX_ARENA_H

#include <stddef.h>

typedef struct ldx_arena ldx_arena;

ldx_arena *ldx_arena_new(void);
void ldx_arena_free(ldx_arena *arena); /* NULL is fine */

/* Zeroed, aligned for any type. */
void *ldx_arena_alloc(ldx_arena *arena, size_t size);
/* A copy of `text` (NULL gives NULL) or of its first `length` bytes, zero-terminated. */
char *ldx_arena_strdup(ldx_arena *arena, const char *text);
char *ldx_arena_strndup(ldx_arena *arena, const char *text, size_t length);
char *ldx_arena_printf(ldx_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Bytes held, for figures and tests. */
size_t ldx_arena_size(const ldx_arena *arena);

#define LDX_ARENA_NEW(arena, type, count) ((type *)ldx_arena_alloc((arena), sizeof(type) * (size_t)(count)))

#endif
