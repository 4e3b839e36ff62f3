/* The heap of the program's Lua state: what Lua may ask of an allocator, in random order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "host/heap.h"

enum { BLOCKS = 500, TURNS = 200000, LARGEST = 2000 };

typedef struct block {
  unsigned char *at;
  size_t size;
  unsigned char filled_with;
} block;

static void check(const block *b) {
  for (size_t i = 0; i < b->size; i++) assert_int_equal(b->at[i], b->filled_with);
}

static void fill(block *b, unsigned char with) {
  b->filled_with = with;
  memset(b->at, with, b->size);
}

static void blocks_keep_what_is_in_them(void **state) {
  (void)state;
  ldx_heap *heap = ldx_heap_new();
  block blocks[BLOCKS] = {0};
  unsigned seed = 7;
  for (int turn = 0; turn < TURNS; turn++) {
    block *b = &blocks[(seed = seed * 1103515245 + 12345) / 65536 % BLOCKS];
    size_t size = (seed = seed * 1103515245 + 12345) / 65536 % (turn % 10 ? 100 : LARGEST);
    if (b->at) check(b);
    unsigned char *moved = ldx_heap_alloc(heap, b->at, b->at ? b->size : LUA_TTABLE, size);
    if (size == 0) {
      assert_null(moved);
      *b = (block){0};
      continue;
    }
    assert_non_null(moved);
    assert_int_equal((uintptr_t)moved % 16, 0);
    size_t kept = b->at ? b->size < size ? b->size : size : 0;
    *b = (block){moved, kept, b->filled_with};
    check(b);
    b->size = size;
    fill(b, (unsigned char)turn);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    if (!blocks[i].at) continue;
    check(&blocks[i]);
    if (i == BLOCKS / 2) ldx_heap_close(heap);
    ldx_heap_alloc(heap, blocks[i].at, blocks[i].size, 0);
  }
  ldx_heap_free(heap);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(blocks_keep_what_is_in_them)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
