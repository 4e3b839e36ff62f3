#include "model/marks.h"

#include <stdlib.h>

typedef struct ldx_mark {
  ldx_fingerprint mark;
  size_t number; /* 0: a free place */
} ldx_mark;

/* The place of a mark: the one that has it, or a free one. */
static ldx_mark *place_of(const ldx_marks *marks, ldx_fingerprint mark) {
  size_t i = (size_t)mark.low & (marks->room - 1);
  while (marks->slots[i].number && !ldx_fingerprint_equal(marks->slots[i].mark, mark)) i = (i + 1) & (marks->room - 1);
  return &marks->slots[i];
}

static void widen(ldx_marks *marks) {
  ldx_mark *old = marks->slots;
  size_t room = marks->room;
  marks->room = room ? room * 2 : 64;
  marks->slots = calloc(marks->room, sizeof *marks->slots);
  if (!marks->slots) abort(); /* as the arena does */
  for (size_t i = 0; i < room; i++)
    if (old[i].number) *place_of(marks, old[i].mark) = old[i];
  free(old);
}

size_t *ldx_marks_number(ldx_marks *marks, ldx_fingerprint mark) {
  if (marks->count * 4 >= marks->room * 3) widen(marks);
  ldx_mark *place = place_of(marks, mark);
  if (!place->number) marks->count++;
  place->mark = mark;
  return &place->number;
}

void ldx_marks_free(ldx_marks *marks) {
  free(marks->slots);
  *marks = (ldx_marks){0};
}
