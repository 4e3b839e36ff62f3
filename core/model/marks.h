/* model/marks.h: numbers by 128-bit marks, which stand for whatever they were hashed from. */
#ifndef LUNADEX_MODEL_MARKS_H
#define LUNADEX_MODEL_MARKS_H

#include "lunadex/index.h"

/* Begins as zeros. */
typedef struct ldx_marks {
  struct ldx_mark *slots;
  size_t count, room; /* room: 0 or a power of two */
} ldx_marks;

/* The number that a mark has, to be read or set until the next call. 0: it is new, and the caller gives it another one. */
size_t *ldx_marks_number(ldx_marks *marks, ldx_fingerprint mark);
void ldx_marks_free(ldx_marks *marks);

#endif
