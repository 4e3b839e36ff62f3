#include "text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool is_word(char c)
{
  return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static const char *quoted_end(const char *text, char quote, bool backslashes)
{
  for (const char *p = text + 1; *p; p++) {
    if (backslashes && *p == '\\' && p[1])
      p++;
    else if (*p == quote) {
      if (p[1] != quote)
        return p + 1;
      p++;
    }
  }
  return text + strlen(text);
}

/* $tag$ … $tag$ */
static const char *dollar_end(const char *text)
{
  const char *tag = text + 1;
  while (isalnum((unsigned char)*tag) || *tag == '_' || (unsigned char)*tag >= 0x80)
    tag++;
  if (*tag != '$')
    return text + 1;
  size_t length = (size_t)(tag - text) + 1;
  for (const char *p = tag + 1; *p; p++)
    if (*p == '$' && strncmp(p, text, length) == 0)
      return p + length;
  return text + strlen(text);
}

static const char *comment_end(const char *text)
{
  int depth = 0;
  const char *p = text;
  while (*p) {
    if (p[0] == '/' && p[1] == '*') {
      depth++;
      p += 2;
    } else if (p[0] == '*' && p[1] == '/') {
      p += 2;
      if (--depth == 0)
        return p;
    } else {
      p++;
    }
  }
  return p;
}

const char *ldx_pg_token_end(const char *text)
{
  switch (*text) {
  case '\0':
    return text;
  case '\'':
    return quoted_end(text, '\'', false);
  case '"':
    return quoted_end(text, '"', false);
  case '$':
    return dollar_end(text);
  default:
    break;
  }
  if (text[0] == '-' && text[1] == '-') {
    const char *newline = strchr(text, '\n');
    return newline ? newline : text + strlen(text);
  }
  if (text[0] == '/' && text[1] == '*')
    return comment_end(text);
  if ((text[0] == 'E' || text[0] == 'e') && text[1] == '\'')
    return quoted_end(text + 1, '\'', true);
  if (is_word(*text)) {
    while (is_word(*text))
      text++;
    return text;
  }
  return text + 1;
}

const char *ldx_pg_matching(const char *text)
{
  int depth = 0;
  for (const char *p = text; *p; p = ldx_pg_token_end(p)) {
    if (*p == '(' || *p == '[')
      depth++;
    else if ((*p == ')' || *p == ']') && --depth == 0)
      return p;
  }
  return NULL;
}

const char *ldx_pg_strip_parentheses(ldx_arena *arena, const char *text)
{
  const char *start = text, *end = text + strlen(text);
  for (;;) {
    while (start < end && isspace((unsigned char)*start))
      start++;
    while (end > start && isspace((unsigned char)end[-1]))
      end--;
    if (end - start < 2 || *start != '(' || ldx_pg_matching(start) != end - 1)
      break;
    start++;
    end--;
  }
  return start == text && !*end ? text : ldx_arena_strndup(arena, start, (size_t)(end - start));
}

/* --- stable spelling ---------------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix)
{
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The type that the first element of a list such as `'a'::character varying, 'b'::character varying]` is cast to, or
 * NULL when it does not end in a cast. The name may hold spaces, a typmod and a time zone clause. */
static char *element_type(ldx_arena *arena, const char *list, const char *close)
{
  const char *cast = NULL, *end = close;
  for (const char *p = list; p < close;) {
    if (*p == '(' || *p == '[') {
      const char *matching = ldx_pg_matching(p);
      if (!matching)
        return NULL;
      p = matching + 1;
    } else if (*p == ',') {
      end = p;
      break;
    } else if (starts_with(p, "::")) {
      cast = p + 2;
      p += 2;
    } else {
      p = ldx_pg_token_end(p);
    }
  }
  return cast ? ldx_arena_strndup(arena, cast, (size_t)(end - cast)) : NULL;
}

/* `text` with `insert` put in at `at`. */
static char *spliced(ldx_arena *arena, const char *text, const char *at, const char *insert)
{
  return ldx_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, insert, at);
}

static const char *respell_arrays(ldx_arena *arena, const char *text)
{
  const char *from = text;
  for (;;) {
    const char *open = NULL;
    for (const char *p = from; *p; p = ldx_pg_token_end(p)) {
      if (starts_with(p, "(ARRAY[")) {
        open = p;
        break;
      }
    }
    if (!open)
      return text;
    size_t next = (size_t)(open - text) + strlen("(ARRAY[");
    const char *bracket = open + strlen("(ARRAY");
    const char *close = ldx_pg_matching(bracket);
    if (close && starts_with(close, "])::")) {
      char *type = element_type(arena, bracket + 1, close);
      if (type)
        text = spliced(arena, text, close + 1, ldx_arena_printf(arena, "::%s[]", type));
    }
    from = text + next;
  }
}

/* One `(left operator right)` of a chain. */
typedef struct comparison {
  const char *left, *right;
  int left_length, right_length;
} comparison;

enum { MAX_OPERANDS = 32 };

/* Takes apart the parenthesised operand at `text` with this operator (blanks included); false if it is something else. */
static bool compare(const char *text, const char *operator, comparison *out)
{
  const char *close = *text == '(' ? ldx_pg_matching(text) : NULL;
  if (!close)
    return false;
  for (const char *p = text + 1; p < close;) {
    if (starts_with(p, operator)) {
      *out = (comparison){text + 1, p + strlen(operator), (int)(p - text - 1), (int)(close - p - (long)strlen(operator))};
      return true;
    }
    const char *matching = *p == '(' || *p == '[' ? ldx_pg_matching(p) : NULL;
    p = matching ? matching + 1 : ldx_pg_token_end(p);
  }
  return false;
}

/* `((X >= A) AND (X <= B))` is what BETWEEN becomes, `((X < A) OR (X > B))` its negation. */
static char *between(ldx_arena *arena, const char *first, const char *second, bool negated)
{
  comparison low, high;
  if (!compare(first, negated ? " < " : " >= ", &low) || !compare(second, negated ? " > " : " <= ", &high) ||
      low.left_length != high.left_length || strncmp(low.left, high.left, (size_t)low.left_length) != 0)
    return NULL;
  return ldx_arena_printf(arena, "(%.*s %sBETWEEN %.*s AND %.*s)", low.left_length, low.left, negated ? "NOT " : "",
                          low.right_length, low.right, high.right_length, high.right);
}

/* `((X = A) AND (Y = B))` is what a comparison of rows becomes, with OR and <> its negation. */
static char *rows(ldx_arena *arena, const char **operands, size_t count, bool negated)
{
  const char *left = "ROW(", *right = "ROW(";
  for (size_t i = 0; i < count; i++) {
    comparison c;
    if (!compare(operands[i], negated ? " <> " : " = ", &c))
      return NULL;
    left = ldx_arena_printf(arena, "%s%s%.*s", left, i > 0 ? ", " : "", c.left_length, c.left);
    right = ldx_arena_printf(arena, "%s%s%.*s", right, i > 0 ? ", " : "", c.right_length, c.right);
  }
  return ldx_arena_printf(arena, "(%s) %s %s))", left, negated ? "<>" : "=", right);
}

/* If the parenthesised `text`..`close` is a chain of one word (AND, OR) and the first operand of a longer chain of that
 * word, a spelling that the parser does not take for a part of the longer one; else NULL. */
static char *respelt_chain(ldx_arena *arena, const char *text, const char *close)
{
  static const char *const words[] = {" AND ", " OR "};
  for (size_t w = 0; w < 2; w++) {
    if (!starts_with(close + 1, words[w]))
      continue;
    const char *operands[MAX_OPERANDS];
    size_t count = 0;
    for (const char *p = text + 1; p && p < close && count < MAX_OPERANDS;) {
      operands[count++] = p;
      const char *end = *p == '(' ? ldx_pg_matching(p) : NULL;
      if (end && end + 1 == close) {
        char *respelt = count == 2 ? between(arena, operands[0], operands[1], w == 1) : NULL;
        return respelt || count < 2 ? respelt : rows(arena, operands, count, w == 1);
      }
      p = end && starts_with(end + 1, words[w]) ? end + 1 + strlen(words[w]) : NULL;
    }
  }
  return NULL;
}

/* Only the first operand of a chain is flattened by the parser, and only when it is a chain of the same word. */
static const char *respell_chains(ldx_arena *arena, const char *text)
{
  size_t at = 0;
  while (text[at]) {
    const char *p = text + at;
    if (*p == '(') {
      const char *close = p[1] == '(' ? ldx_pg_matching(p) : NULL;
      char *respelt = close ? respelt_chain(arena, p, close) : NULL;
      if (respelt)
        text = ldx_arena_printf(arena, "%.*s%s%s", (int)at, text, respelt, close + 1);
      at++;
    } else {
      at = (size_t)(ldx_pg_token_end(p) - text);
    }
  }
  return text;
}

const char *ldx_pg_stable_spelling(ldx_arena *arena, const char *text)
{
  if (strstr(text, "(ARRAY["))
    text = respell_arrays(arena, text);
  if (strstr(text, ") AND (") || strstr(text, ") OR ("))
    text = respell_chains(arena, text);
  return text;
}
