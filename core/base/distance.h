/* distance.h: how far apart two words are, for "did you mean". */
#ifndef LUNADEX_DISTANCE_H
#define LUNADEX_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>

/* Edits (insertion, deletion, substitution, swap of neighbours) between two texts, letter case not counted; words longer
 * than 64 bytes are told apart by nothing but equality. */
size_t ldx_distance(const char *a, const char *b);
/* Whether `a` could be a slip for `b`: a third of the letters may differ, or one, but not all. */
bool ldx_distance_near(const char *a, const char *b);
/* Whichever of `best` (may be NULL) and `candidate` `word` is the likelier slip for; `best` unless `candidate` is near.
 * Of two that are equally near, the one that sorts first, in whatever order they come. */
const char *ldx_distance_best(const char *word, const char *best, const char *candidate);

#endif
