#include "host/heap.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
/* A sanitizer is to see each block by itself. */
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
enum { SMALL = 0 };
#else
enum { SMALL = 512 };
#endif
/* Small blocks come in multiples of GRAIN: those of one class stand for one another. */
enum { GRAIN = 16, CLASSES = SMALL / GRAIN, SLAB = 256 * 1024 };

typedef struct slab {
  struct slab *next;
  max_align_t memory[];
} slab;

typedef struct spare {
  struct spare *next;
} spare;

struct ldx_heap {
  slab *slabs;
  char *at, *end; /* what is left of the latest slab */
  spare *spares[CLASSES + 1];
  bool closing;
};

ldx_heap *ldx_heap_new(void) {
  return calloc(1, sizeof(ldx_heap));
}

void ldx_heap_close(ldx_heap *heap) {
  heap->closing = true;
}

void ldx_heap_free(ldx_heap *heap) {
  for (slab *each = heap->slabs, *next; each; each = next) {
    next = each->next;
    free(each);
  }
  free(heap);
}

static size_t class_of(size_t size) {
  return (size + GRAIN - 1) / GRAIN;
}

static void *take(ldx_heap *heap, size_t size) {
  if (size > SMALL) return malloc(size);
  size_t class = class_of(size);
  spare *block = heap->spares[class];
  if (block) {
    heap->spares[class] = block->next;
    return block;
  }
  if ((size_t)(heap->end - heap->at) < class * GRAIN) {
    slab *more = malloc(sizeof *more + SLAB);
    if (!more) return NULL;
    more->next = heap->slabs;
    heap->slabs = more;
    heap->at = (char *)more->memory;
    heap->end = heap->at + SLAB;
  }
  void *fresh = heap->at;
  heap->at += class * GRAIN;
  return fresh;
}

static void give_back(ldx_heap *heap, void *block, size_t size) {
  if (size > SMALL) {
    free(block);
  } else if (!heap->closing) {
    spare *entry = block;
    entry->next = heap->spares[class_of(size)];
    heap->spares[class_of(size)] = entry;
  }
}

void *ldx_heap_alloc(void *data, void *block, size_t old_size, size_t new_size) {
  ldx_heap *heap = data;
  if (!block) return new_size ? take(heap, new_size) : NULL; /* old_size is a kind of object */
  if (new_size == 0) {
    give_back(heap, block, old_size);
    return NULL;
  }
  if (old_size > SMALL && new_size > SMALL) return realloc(block, new_size);
  if (old_size <= SMALL && new_size <= SMALL && class_of(old_size) == class_of(new_size)) return block;
  void *moved = take(heap, new_size);
  /* Lua takes for granted that shrinking never fails. */
  if (!moved) return new_size <= old_size ? block : NULL;
  memcpy(moved, block, old_size < new_size ? old_size : new_size);
  give_back(heap, block, old_size);
  return moved;
}
