#include "base/distance.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { LONGEST = 64 };

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}

size_t ldx_distance(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b);
  if (m > LONGEST || n > LONGEST) return strcasecmp(a, b) == 0 ? 0 : m + n;
  size_t rows[3][LONGEST + 1];
  size_t *before = rows[0], *previous = rows[1], *current = rows[2];
  for (size_t j = 0; j <= n; j++) previous[j] = j;
  for (size_t i = 1; i <= m; i++) {
    current[0] = i;
    for (size_t j = 1; j <= n; j++) {
      int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
      current[j] = least(least(previous[j], current[j - 1]) + 1, previous[j - 1] + (x != y));
      if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && tolower((unsigned char)a[i - 2]) == y)
        current[j] = least(current[j], before[j - 2] + 1);
    }
    size_t *spare = before;
    before = previous;
    previous = current;
    current = spare;
  }
  return previous[n];
}

bool ldx_distance_near(const char *a, const char *b) {
  size_t longer = strlen(a) > strlen(b) ? strlen(a) : strlen(b);
  size_t edits = ldx_distance(a, b), limit = longer < 3 ? 1 : longer / 3;
  return edits == 0 || (edits <= limit && edits < longer);
}

const char *ldx_distance_best(const char *word, const char *best, const char *candidate) {
  if (!ldx_distance_near(word, candidate)) return best;
  if (!best) return candidate;
  size_t its = ldx_distance(word, candidate), least = ldx_distance(word, best);
  return its < least || (its == least && strcmp(candidate, best) < 0) ? candidate : best;
}
