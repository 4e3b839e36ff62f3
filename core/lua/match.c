/* match.c: what Lua's string library does with patterns, with every step counted.
 *
 * The library's own functions run inside C, where no instruction is counted and nobody is interrupted, and matching goes
 * back over every way to split a text among a pattern's repetitions: that may take days. These give the same results,
 * but take what they do off what a limited run may do (sandbox.h), and so end with it. The algorithm is that of
 * lstrlib.c, Copyright (C) 1994-2022 Lua.org, PUC-Rio, under the terms of the MIT license.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "lua/counted.h"
#include "lua/sandbox.h"

/* Steps are a quarter of an instruction, and counted as soon as there are so many. */
enum { PER_INSTRUCTION = 4, A_WHILE = 256 };

/* As in Lua: captures, how deep matching calls itself, and the lengths of captures that have none. */
enum { MOST_CAPTURES = 32, DEEPEST = 200 };
enum { OPEN = -1, POSITION = -2 };

enum { ESCAPE = '%' };

typedef struct matching {
  lua_State *L;
  const char *subject, *end;
  const char *pattern, *pattern_end; /* without its ^ */
  bool anchored;
  size_t steps; /* that are not counted yet */
  int depth;    /* how much deeper it may go */
  int count;    /* of captures */
  struct {
    const char *at;
    ptrdiff_t length;
  } captures[MOST_CAPTURES];
} matching;

static void step(matching *m, size_t steps) {
  m->steps += steps;
  if (m->steps < A_WHILE) return;
  lua_Integer instructions = (lua_Integer)(m->steps / PER_INSTRUCTION);
  m->steps = 0;
  ldx_lua_charge(m->L, instructions);
}

static int byte_at(const char *p) {
  return (unsigned char)*p;
}

/* --- single bytes ---------------------------------------------------------------------------------------------------- */

/* Behind the class that begins at `p`. */
static const char *class_end(matching *m, const char *p) {
  const char *begin = p;
  char first = *p++;
  if (first == ESCAPE) {
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 1;
  }
  if (first != '[') return p;
  if (*p == '^') p++;
  do { /* a bracket that stands first belongs to the set */
    if (p == m->pattern_end) luaL_error(m->L, "malformed pattern (missing ']')");
    if (*p++ == ESCAPE && p < m->pattern_end) p++;
  } while (*p != ']');
  step(m, (size_t)(p - begin));
  return p + 1;
}

static bool is_of_class(int c, int class) {
  bool is;
  switch (tolower(class)) {
  case 'a':
    is = isalpha(c);
    break;
  case 'c':
    is = iscntrl(c);
    break;
  case 'd':
    is = isdigit(c);
    break;
  case 'g':
    is = isgraph(c);
    break;
  case 'l':
    is = islower(c);
    break;
  case 'p':
    is = ispunct(c);
    break;
  case 's':
    is = isspace(c);
    break;
  case 'u':
    is = isupper(c);
    break;
  case 'w':
    is = isalnum(c);
    break;
  case 'x':
    is = isxdigit(c);
    break;
  case 'z': /* as Lua has it still */
    is = c == '\0';
    break;
  default:
    return class == c;
  }
  return is != !!isupper(class);
}

/* `p` is at the set's [, `last` at its ]. */
static bool is_in_set(matching *m, int c, const char *p, const char *last) {
  bool found = true;
  step(m, (size_t)(last - p));
  if (p[1] == '^') {
    found = false;
    p++;
  }
  while (++p < last) {
    if (*p == ESCAPE) {
      p++;
      if (is_of_class(c, byte_at(p))) return found;
    } else if (p[1] == '-' && p + 2 < last) {
      p += 2;
      if (byte_at(p - 2) <= c && c <= byte_at(p)) return found;
    } else if (byte_at(p) == c) {
      return found;
    }
  }
  return !found;
}

/* Whether the byte at `s` is of the class from `p` to `class_end`. */
static bool is_one(matching *m, const char *s, const char *p, const char *end_of_class) {
  step(m, 1);
  if (s >= m->end) return false;
  switch (*p) {
  case '.':
    return true;
  case ESCAPE:
    return is_of_class(byte_at(s), byte_at(p + 1));
  case '[':
    return is_in_set(m, byte_at(s), p, end_of_class - 1);
  default:
    return *p == *s;
  }
}

/* --- matching: each gives where the match ends, or NULL --------------------------------------------------------------- */

static const char *match(matching *m, const char *s, const char *p);

static const char *match_most(matching *m, const char *s, const char *p, const char *end_of_class) {
  ptrdiff_t i = 0;
  while (is_one(m, s + i, p, end_of_class)) i++;
  for (; i >= 0; i--) {
    const char *found = match(m, s + i, end_of_class + 1);
    if (found) return found;
  }
  return NULL;
}

static const char *match_least(matching *m, const char *s, const char *p, const char *end_of_class) {
  for (;; s++) {
    const char *found = match(m, s, end_of_class + 1);
    if (found) return found;
    if (!is_one(m, s, p, end_of_class)) return NULL;
  }
}

/* %b, `p` at its two bytes. */
static const char *match_balance(matching *m, const char *s, const char *p) {
  if (p >= m->pattern_end - 1) luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
  if (*s != *p) return NULL;
  int open = 1;
  while (++s < m->end) {
    step(m, 1);
    if (*s == p[1]) {
      if (--open == 0) return s + 1;
    } else if (*s == *p) {
      open++;
    }
  }
  return NULL;
}

/* %f, `p` at its set. */
static bool is_frontier(matching *m, const char *s, const char *p, const char *end_of_class) {
  int before = s == m->subject ? '\0' : byte_at(s - 1);
  return !is_in_set(m, before, p, end_of_class - 1) && is_in_set(m, byte_at(s), p, end_of_class - 1);
}

static const char *begin_capture(matching *m, const char *s, const char *p, ptrdiff_t length) {
  if (m->count >= MOST_CAPTURES) luaL_error(m->L, "too many captures");
  m->captures[m->count].at = s;
  m->captures[m->count].length = length;
  m->count++;
  const char *found = match(m, s, p);
  if (!found) m->count--;
  return found;
}

static const char *end_capture(matching *m, const char *s, const char *p) {
  int i = m->count - 1;
  while (i >= 0 && m->captures[i].length != OPEN) i--;
  if (i < 0) luaL_error(m->L, "invalid pattern capture");
  m->captures[i].length = s - m->captures[i].at;
  const char *found = match(m, s, p);
  if (!found) m->captures[i].length = OPEN;
  return found;
}

/* %1: what was captured, once more. */
static const char *match_capture(matching *m, const char *s, int digit) {
  int i = digit - '1';
  if (i < 0 || i >= m->count || m->captures[i].length == OPEN) luaL_error(m->L, "invalid capture index %%%d", i + 1);
  size_t length = (size_t)m->captures[i].length; /* of a position: more than there is */
  if ((size_t)(m->end - s) < length) return NULL;
  step(m, length);
  return length == 0 || memcmp(m->captures[i].at, s, length) == 0 ? s + length : NULL;
}

/* One class with its quantifier; `*next` is what follows it, if that is still to be matched. */
static const char *match_item(matching *m, const char *s, const char *p, const char **next) {
  const char *behind = class_end(m, p);
  bool one = is_one(m, s, p, behind), may_be_none = *behind == '*' || *behind == '?' || *behind == '-';
  *next = NULL;
  if (one && *behind == '*') return match_most(m, s, p, behind);
  if (one && *behind == '-') return match_least(m, s, p, behind);
  if (one && *behind == '+') return match_most(m, s + 1, p, behind);
  if (may_be_none) {
    const char *found = one ? match(m, s + 1, behind + 1) : NULL;
    if (found) return found;
    *next = behind + 1;
    return s;
  }
  *next = behind;
  return one ? s + 1 : NULL;
}

static const char *match(matching *m, const char *s, const char *p) {
  if (m->depth-- == 0) luaL_error(m->L, "pattern too complex");
  step(m, 1);
  while (s && p && p != m->pattern_end) {
    if (*p == '(') {
      s = p[1] == ')' ? begin_capture(m, s, p + 2, POSITION) : begin_capture(m, s, p + 1, OPEN);
      p = NULL;
    } else if (*p == ')') {
      s = end_capture(m, s, p + 1);
      p = NULL;
    } else if (*p == '$' && p + 1 == m->pattern_end) {
      if (s != m->end) s = NULL;
      p = NULL;
    } else if (*p == ESCAPE && p[1] == 'b') {
      s = match_balance(m, s, p + 2);
      p += 4;
    } else if (*p == ESCAPE && p[1] == 'f') {
      p += 2;
      if (*p != '[') luaL_error(m->L, "missing '[' after '%%f' in pattern");
      const char *behind = class_end(m, p);
      if (!is_frontier(m, s, p, behind)) s = NULL;
      p = behind;
    } else if (*p == ESCAPE && isdigit(byte_at(p + 1))) {
      s = match_capture(m, s, byte_at(p + 1));
      p += 2;
    } else {
      s = match_item(m, s, p, &p);
    }
  }
  m->depth++;
  return s;
}

/* From the beginning, as if nothing had been matched before. */
static const char *match_at(matching *m, const char *s) {
  m->count = 0;
  m->depth = DEEPEST;
  return match(m, s, m->pattern);
}

/* --- what was found --------------------------------------------------------------------------------------------------- */

/* Subject and pattern are at 1 and 2; only where `may_anchor`, a ^ means the beginning. */
static matching begin(lua_State *L, bool may_anchor) {
  size_t length, pattern_length;
  matching m = {.L = L, .subject = luaL_checklstring(L, 1, &length)};
  m.pattern = luaL_checklstring(L, 2, &pattern_length);
  m.end = m.subject + length;
  m.pattern_end = m.pattern + pattern_length;
  m.anchored = may_anchor && *m.pattern == '^';
  if (m.anchored) m.pattern++;
  return m;
}

/* Where to begin, as the argument says; NULL: behind the end. */
static const char *first_of(matching *m, int argument) {
  lua_Integer at = luaL_optinteger(m->L, argument, 1), length = m->end - m->subject;
  if (at < 0) at = at < -length ? 1 : length + at + 1;
  if (at == 0) at = 1;
  return at - 1 > length ? NULL : m->subject + (at - 1);
}

/* The capture's text, without one the whole match from `s` to `e`; of a position, that is pushed and NULL given. */
static const char *captured(matching *m, int i, const char *s, const char *e, size_t *length) {
  if (i >= m->count) {
    if (i != 0) luaL_error(m->L, "invalid capture index %%%d", i + 1);
    *length = (size_t)(e - s);
    return s;
  }
  if (m->captures[i].length == POSITION) {
    lua_pushinteger(m->L, m->captures[i].at - m->subject + 1);
    return NULL;
  }
  if (m->captures[i].length == OPEN) luaL_error(m->L, "unfinished capture");
  *length = (size_t)m->captures[i].length;
  return m->captures[i].at;
}

static void push_capture(matching *m, int i, const char *s, const char *e) {
  size_t length;
  const char *text = captured(m, i, s, e, &length);
  if (text) lua_pushlstring(m->L, text, length);
}

/* All of them; without any the whole match, if `s` says where it begins. */
static int push_captures(matching *m, const char *s, const char *e) {
  int count = m->count == 0 && s ? 1 : m->count;
  luaL_checkstack(m->L, count, "too many captures");
  for (int i = 0; i < count; i++) push_capture(m, i, s, e);
  return count;
}

/* --- the functions ---------------------------------------------------------------------------------------------------- */

static int push_span(matching *m, const char *s, const char *e) {
  lua_pushinteger(m->L, s - m->subject + 1);
  lua_pushinteger(m->L, e - m->subject);
  return 2;
}

static bool is_plain(const char *text, size_t length) {
  for (size_t i = 0; i < length; i++)
    if (text[i] && strchr("^$*+?.([%-", text[i])) return false;
  return true;
}

static int search(lua_State *L, bool find) {
  matching m = begin(L, false);
  const char *s = first_of(&m, 3);
  if (!s) {
    luaL_pushfail(L);
    return 1;
  }
  size_t length = (size_t)(m.pattern_end - m.pattern);
  if (find && (lua_toboolean(L, 4) || is_plain(m.pattern, length))) {
    const char *found = memmem(s, (size_t)(m.end - s), m.pattern, length); /* in linear time */
    step(&m, (size_t)((found ? found : m.end) - s) + length);
    if (found) return push_span(&m, found, found + length);
  } else {
    m = begin(L, true);
    do {
      const char *e = match_at(&m, s);
      if (e) return (find ? push_span(&m, s, e) : 0) + push_captures(&m, find ? NULL : s, e);
    } while (s++ < m.end && !m.anchored);
  }
  luaL_pushfail(L);
  return 1;
}

static int find(lua_State *L) {
  return search(L, true);
}

static int match_once(lua_State *L) {
  return search(L, false);
}

/* Upvalues: subject, pattern, how many bytes from its beginning to go on, where the last match ended (-1: none yet). */
static int next_match(lua_State *L) {
  enum { SUBJECT = 1, PATTERN, AT, LAST };
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(SUBJECT));
  lua_pushvalue(L, lua_upvalueindex(PATTERN));
  matching m = begin(L, false);
  lua_Integer last = lua_tointeger(L, lua_upvalueindex(LAST)), length = m.end - m.subject;
  for (lua_Integer at = lua_tointeger(L, lua_upvalueindex(AT)); at <= length; at++) {
    const char *s = m.subject + at, *e = match_at(&m, s);
    if (!e || e - m.subject == last) continue;
    lua_pushinteger(L, e - m.subject);
    lua_pushvalue(L, -1);
    lua_replace(L, lua_upvalueindex(AT));
    lua_replace(L, lua_upvalueindex(LAST));
    return push_captures(&m, s, e);
  }
  return 0;
}

static int gmatch(lua_State *L) {
  matching m = begin(L, false);
  const char *s = first_of(&m, 3);
  lua_settop(L, 2);
  lua_pushinteger(L, (s ? s : m.end + 1) - m.subject);
  lua_pushinteger(L, -1);
  lua_pushcclosure(L, next_match, 4);
  return 1;
}

/* Adds the text at 3 with its %0, %1 … */
static void add_text(matching *m, luaL_Buffer *buffer, const char *s, const char *e) {
  lua_State *L = m->L;
  size_t length, part;
  const char *text = lua_tolstring(L, 3, &length), *end = text + length;
  for (const char *p; (p = memchr(text, ESCAPE, (size_t)(end - text))); text = p + 1) {
    luaL_addlstring(buffer, text, (size_t)(p - text));
    p++;
    if (*p == ESCAPE) {
      luaL_addchar(buffer, *p);
    } else if (*p == '0') {
      luaL_addlstring(buffer, s, (size_t)(e - s));
    } else if (isdigit(byte_at(p))) {
      const char *capture = captured(m, *p - '1', s, e, &part);
      if (capture)
        luaL_addlstring(buffer, capture, part);
      else
        luaL_addvalue(buffer);
    } else {
      luaL_error(L, "invalid use of '%c' in replacement string", ESCAPE);
    }
  }
  luaL_addlstring(buffer, text, (size_t)(end - text));
}

/* Adds what stands in the place of the match from `s` to `e`. Whether that is something else. */
static bool add_replacement(matching *m, luaL_Buffer *buffer, const char *s, const char *e, int type) {
  lua_State *L = m->L;
  if (type == LUA_TFUNCTION) {
    lua_pushvalue(L, 3);
    lua_call(L, push_captures(m, s, e), 1);
  } else if (type == LUA_TTABLE) {
    push_capture(m, 0, s, e);
    lua_gettable(L, 3);
  } else {
    add_text(m, buffer, s, e);
    return true;
  }
  if (!lua_toboolean(L, -1)) {
    lua_pop(L, 1);
    luaL_addlstring(buffer, s, (size_t)(e - s));
    return false;
  }
  if (!lua_isstring(L, -1)) luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
  luaL_addvalue(buffer);
  return true;
}

static int gsub(lua_State *L) {
  matching m = begin(L, true);
  const char *s = m.subject, *last = NULL;
  int type = lua_type(L, 3);
  luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                   "string/function/table");
  lua_Integer most = luaL_optinteger(L, 4, m.end - m.subject + 1), count = 0;
  bool changed = false;
  luaL_Buffer buffer;
  luaL_buffinit(L, &buffer);
  while (count < most) {
    const char *e = match_at(&m, s);
    if (e && e != last) {
      count++;
      changed = add_replacement(&m, &buffer, s, e, type) || changed;
      s = last = e;
    } else if (s < m.end) {
      luaL_addchar(&buffer, *s);
      s++;
    } else {
      break;
    }
    if (m.anchored) break;
  }
  if (changed) {
    luaL_addlstring(&buffer, s, (size_t)(m.end - s));
    luaL_pushresult(&buffer);
  } else {
    lua_pushvalue(L, 1);
  }
  lua_pushinteger(L, count);
  return 2;
}

void ldx_lua_set_matching(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"find", find}, {"match", match_once}, {"gmatch", gmatch}, {"gsub", gsub}, {NULL, NULL}};
  luaL_setfuncs(L, functions, 0);
}
