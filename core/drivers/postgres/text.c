#include "text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool is_word(char c) {
  return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static const char *quoted_end(const char *text, char quote, bool backslashes) {
  for (const char *p = text + 1; *p; p++) {
    if (backslashes && *p == '\\' && p[1])
      p++;
    else if (*p == quote) {
      if (p[1] != quote) return p + 1;
      p++;
    }
  }
  return text + strlen(text);
}

/* $tag$ … $tag$ */
static const char *dollar_end(const char *text) {
  const char *tag = text + 1;
  while (isalnum((unsigned char)*tag) || *tag == '_' || (unsigned char)*tag >= 0x80) tag++;
  if (*tag != '$') return text + 1;
  size_t length = (size_t)(tag - text) + 1;
  for (const char *p = tag + 1; *p; p++)
    if (*p == '$' && strncmp(p, text, length) == 0) return p + length;
  return text + strlen(text);
}

static const char *comment_end(const char *text) {
  int depth = 0;
  const char *p = text;
  while (*p) {
    if (p[0] == '/' && p[1] == '*') {
      depth++;
      p += 2;
    } else if (p[0] == '*' && p[1] == '/') {
      p += 2;
      if (--depth == 0) return p;
    } else {
      p++;
    }
  }
  return p;
}

const char *ldx_pg_token_end(const char *text) {
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
  if (text[0] == '/' && text[1] == '*') return comment_end(text);
  if ((text[0] == 'E' || text[0] == 'e') && text[1] == '\'') return quoted_end(text + 1, '\'', true);
  if (is_word(*text)) {
    while (is_word(*text)) text++;
    return text;
  }
  return text + 1;
}

const char *ldx_pg_matching(const char *text) {
  int depth = 0;
  for (const char *p = text; *p; p = ldx_pg_token_end(p)) {
    if (*p == '(' || *p == '[')
      depth++;
    else if ((*p == ')' || *p == ']') && --depth == 0)
      return p;
  }
  return NULL;
}

const char *ldx_pg_strip_parentheses(ldx_arena *arena, const char *text) {
  const char *start = text, *end = text + strlen(text);
  for (;;) {
    while (start < end && isspace((unsigned char)*start)) start++;
    while (end > start && isspace((unsigned char)end[-1])) end--;
    if (end - start < 2 || *start != '(' || ldx_pg_matching(start) != end - 1) break;
    start++;
    end--;
  }
  return start == text && !*end ? text : ldx_arena_strndup(arena, start, (size_t)(end - start));
}

/* --- stable spelling ---------------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The type of the first element of a list such as `'a'::character varying, 'b'::character varying]`, or NULL when it is
 * neither a number nor ends in a cast. The name may hold spaces, a typmod and a time zone clause. */
static char *element_type(ldx_arena *arena, const char *list, const char *close) {
  const char *cast = NULL, *end = close;
  for (const char *p = list; p < close;) {
    if (*p == '(' || *p == '[') {
      const char *matching = ldx_pg_matching(p);
      if (!matching) return NULL;
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
  if (cast) return ldx_arena_strndup(arena, cast, (size_t)(end - cast));
  /* The only constants that the server prints without a cast: 42 and 4.2. */
  const size_t digits = strspn(list, "0123456789"), all = strspn(list, "0123456789.");
  if (digits == 0 || list + all != end) return NULL;
  return ldx_arena_strdup(arena, digits == all ? "integer" : "numeric");
}

/* `text` with `insert` put in at `at`. */
static char *spliced(ldx_arena *arena, const char *text, const char *at, const char *insert) {
  return ldx_arena_printf(arena, "%.*s%s%s", (int)(at - text), text, insert, at);
}

static const char *respell_arrays(ldx_arena *arena, const char *text) {
  const char *from = text;
  for (;;) {
    const char *open = NULL;
    for (const char *p = from; *p; p = ldx_pg_token_end(p)) {
      if (starts_with(p, "(ARRAY[")) {
        open = p;
        break;
      }
    }
    if (!open) return text;
    size_t next = (size_t)(open - text) + strlen("(ARRAY[");
    const char *bracket = open + strlen("(ARRAY");
    const char *close = ldx_pg_matching(bracket);
    if (close && starts_with(close, "])::")) {
      char *type = element_type(arena, bracket + 1, close);
      if (type) text = spliced(arena, text, close + 1, ldx_arena_printf(arena, "::%s[]", type));
    }
    from = text + next;
  }
}

/* What joins the operands of a chain; the space behind it may be a newline, which the server prints before a CASE. */
static const char *const joints[] = {" AND", " OR"};

static bool is_joint(const char *text, const char *word) {
  return starts_with(text, word) && isspace((unsigned char)text[strlen(word)]);
}

/* Whether the parenthesised `text`..`close` is a chain of operands joined by `word`. */
static bool is_chain(const char *text, const char *close, const char *word) {
  for (const char *p = text + 1; p < close;) {
    if (is_joint(p, word)) return true;
    const char *matching = *p == '(' || *p == '[' ? ldx_pg_matching(p) : NULL;
    p = matching ? matching + 1 : ldx_pg_token_end(p);
  }
  return false;
}

/* The parser flattens only the first operand of a chain, and only when it is a chain of the same word. It does not look
 * through a cast, and one from boolean to boolean leaves nothing behind. */
static const char *respell_chains(ldx_arena *arena, const char *text) {
  size_t at = 0;
  while (text[at]) {
    const char *p = text + at;
    if (*p != '(') {
      at = (size_t)(ldx_pg_token_end(p) - text);
      continue;
    }
    at++;
    const char *close = ldx_pg_matching(p);
    for (size_t w = 0; close && w < 2; w++) {
      if (!is_joint(close + 1, joints[w]) || !is_chain(p, close, joints[w])) continue;
      text = spliced(arena, text, close + 1, "::boolean");
      break;
    }
  }
  return text;
}

const char *ldx_pg_stable_spelling(ldx_arena *arena, const char *text) {
  if (strstr(text, "(ARRAY[")) text = respell_arrays(arena, text);
  if (strstr(text, ") AND") || strstr(text, ") OR")) text = respell_chains(arena, text);
  return text;
}

/* Whether what stands at `open`..`close` in parentheses is a whole operand of a chain joined by `word`: anything that
 * binds tighter (NOT, a function's name, an operator, a cast) would stand in between. */
static bool is_operand(const char *text, const char *open, const char *close, const char *word) {
  size_t length = strlen(word) + 1;
  bool after = (size_t)(open - text) >= length && is_joint(open - length, word);
  bool before = is_joint(close + 1, word);
  bool starts = open == text || open[-1] == '(';
  bool ends = !close[1] || close[1] == ')';
  return (after || before) && (after || starts) && (before || ends);
}

const char *ldx_pg_flat_chains(ldx_arena *arena, const char *given) {
  if (!strstr(given, ") AND") && !strstr(given, ") OR") && !strstr(given, " AND (") && !strstr(given, " OR ("))
    return NULL;
  char *text = ldx_arena_strdup(arena, given), *p = text;
  bool changed = false;
  while (*p) {
    const char *close = *p == '(' ? ldx_pg_matching(p) : NULL;
    bool flat = false;
    for (size_t w = 0; close && !flat && w < 2; w++)
      flat = is_operand(text, p, close, joints[w]) && is_chain(p, close, joints[w]);
    if (flat) {
      char *end = text + (close - text);
      memmove(end, end + 1, strlen(end));
      memmove(p, p + 1, strlen(p));
      changed = true;
    } else {
      p = text + (*p == '(' ? (p - text) + 1 : ldx_pg_token_end(p) - text);
    }
  }
  return changed ? text : NULL;
}
