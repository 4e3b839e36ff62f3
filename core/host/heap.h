/* heap.h: memory for the program's Lua state.
 *
 * A registry of 20,000 indexes is 200,000 small blocks that live until the end and then all go: taking them from slabs
 * and giving the slabs back whole saves what malloc and free would take for each.
 */
#ifndef LUNADEX_HOST_HEAP_H
#define LUNADEX_HOST_HEAP_H

#include <lua.h>

typedef struct ldx_heap ldx_heap;

ldx_heap *ldx_heap_new(void); /* NULL: out of memory */
/* A lua_Alloc; `heap` is its data. */
void *ldx_heap_alloc(void *heap, void *block, size_t old_size, size_t new_size);
/* To be called before lua_close: what is given back from now on goes with the slabs. */
void ldx_heap_close(ldx_heap *heap);
void ldx_heap_free(ldx_heap *heap);

#endif
