#include "lunadex/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks double from FIRST to LARGEST: a job that needs a few strings costs a kilobyte, a catalog of 100,000 indexes
 * some dozens of calls of calloc. A request larger than a quarter of the next block gets a block of its own, which
 * leaves the current one open for the small ones that follow.
 */
enum { FIRST = 1024, LARGEST = 1024 * 1024 };

typedef struct block {
  struct block *next;
  size_t size; /* of `data` */
  size_t used;
  max_align_t data[];
} block;

struct ldx_arena {
  block *blocks; /* the open one first */
  size_t next_size;
  size_t held;
};

static void *zeroed(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) {
    fprintf(stderr, "lunadex: out of memory (%zu bytes)\n", size);
    abort();
  }
  return memory;
}

ldx_arena *ldx_arena_new(void) {
  ldx_arena *arena = zeroed(sizeof *arena);
  arena->next_size = FIRST;
  arena->held = sizeof *arena;
  return arena;
}

void ldx_arena_free(ldx_arena *arena) {
  if (!arena) return;
  for (block *b = arena->blocks; b;) {
    block *next = b->next;
    free(b);
    b = next;
  }
  free(arena);
}

static block *block_new(ldx_arena *arena, size_t size) {
  block *b = zeroed(sizeof *b + size);
  b->size = size;
  arena->held += sizeof *b + size;
  return b;
}

void *ldx_arena_alloc(ldx_arena *arena, size_t size) {
  const size_t unit = _Alignof(max_align_t);
  if (size > SIZE_MAX / 2) { /* a negative count in disguise */
    fprintf(stderr, "lunadex: out of memory (%zu bytes)\n", size);
    abort();
  }
  size = size == 0 ? unit : (size + unit - 1) / unit * unit;
  block *b = arena->blocks;
  if (!b || b->size - b->used < size) {
    if (size > arena->next_size / 4) {
      block *own = block_new(arena, size);
      own->used = size;
      if (b) { /* behind the open block */
        own->next = b->next;
        b->next = own;
      } else {
        arena->blocks = own;
      }
      return own->data;
    }
    b = block_new(arena, arena->next_size);
    if (arena->next_size < LARGEST) arena->next_size *= 2;
    b->next = arena->blocks;
    arena->blocks = b;
  }
  void *memory = (char *)b->data + b->used;
  b->used += size;
  return memory;
}

char *ldx_arena_strndup(ldx_arena *arena, const char *text, size_t length) {
  if (!text) return NULL;
  char *copy = ldx_arena_alloc(arena, length + 1);
  memcpy(copy, text, length);
  return copy; /* memory is zeroed: terminated */
}

char *ldx_arena_strdup(ldx_arena *arena, const char *text) {
  return text ? ldx_arena_strndup(arena, text, strlen(text)) : NULL;
}

char *ldx_arena_printf(ldx_arena *arena, const char *format, ...) {
  va_list arguments;
  va_list again;
  va_start(arguments, format);
  va_copy(again, arguments);
  char room[256]; /* enough for most */
  int length = vsnprintf(room, sizeof room, format, arguments);
  va_end(arguments);
  char *text = ldx_arena_alloc(arena, length > 0 ? (size_t)length + 1 : 1);
  if (length >= (int)sizeof room)
    vsnprintf(text, (size_t)length + 1, format, again);
  else if (length > 0)
    memcpy(text, room, (size_t)length);
  va_end(again);
  return text;
}

size_t ldx_arena_size(const ldx_arena *arena) {
  return arena->held;
}
