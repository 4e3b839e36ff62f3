#include "base/redact.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void add_bytes(ldx_secrets *secrets, const char *bytes, size_t length) {
  if (!length || secrets->count == sizeof secrets->items / sizeof *secrets->items) return;
  for (size_t i = 0; i < secrets->count; i++)
    if (strlen(secrets->items[i]) == length && !memcmp(secrets->items[i], bytes, length)) return;
  char *copy = malloc(length + 1);
  if (!copy) abort();
  memcpy(copy, bytes, length);
  copy[length] = '\0';
  secrets->items[secrets->count++] = copy;
}

void ldx_secrets_add(ldx_secrets *secrets, const char *secret) {
  add_bytes(secrets, secret, strlen(secret));
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = (char)tolower((unsigned char)c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* As written, and decoded as far as it can be. */
static void add_encoded(ldx_secrets *secrets, const char *bytes, size_t length) {
  add_bytes(secrets, bytes, length);
  char *decoded = malloc(length + 1);
  if (!decoded) abort();
  size_t n = 0;
  for (size_t i = 0; i < length; i++) {
    if (bytes[i] == '%' && i + 2 < length && hex(bytes[i + 1]) >= 0 && hex(bytes[i + 2]) >= 0) {
      decoded[n++] = (char)(hex(bytes[i + 1]) * 16 + hex(bytes[i + 2]));
      i += 2;
    } else {
      decoded[n++] = bytes[i];
    }
  }
  add_bytes(secrets, decoded, n);
  free(decoded);
}

static const char *authority(const char *url) {
  const char *start = strstr(url, "://");
  return start ? start + 3 : NULL;
}

void ldx_secrets_of_target(ldx_secrets *secrets, const char *target) {
  const char *rest = authority(target);
  if (rest) {
    const char *at = strrchr(rest, '@'), *colon = strchr(rest, ':');
    if (at && colon && colon < at) add_encoded(secrets, colon + 1, (size_t)(at - colon - 1));
    const char *first = strchr(rest, '@');
    if (first && colon && colon < first) add_encoded(secrets, colon + 1, (size_t)(first - colon - 1));
  }
  for (const char *p = target; (p = strcasestr(p, "password"));) {
    p += strlen("password");
    const char *value = p + strspn(p, " ");
    if (*value != '=') continue;
    value++;
    value += strspn(value, " ");
    if (*value == '\'') {
      const char *end = strchr(value + 1, '\'');
      add_bytes(secrets, value + 1, end ? (size_t)(end - value - 1) : strlen(value + 1));
    } else {
      add_encoded(secrets, value, strcspn(value, rest ? "&" : " "));
    }
  }
}

static void drop(ldx_secrets *secrets, size_t i) {
  explicit_bzero(secrets->items[i], strlen(secrets->items[i]));
  free(secrets->items[i]);
  secrets->items[i] = secrets->items[--secrets->count];
}

void ldx_secrets_forget(ldx_secrets *secrets, const char *text) {
  for (size_t i = secrets->count; i-- > 0;)
    if (strlen(secrets->items[i]) < 3 || strstr(text, secrets->items[i])) drop(secrets, i);
}

void ldx_secrets_free(ldx_secrets *secrets) {
  while (secrets->count) drop(secrets, 0);
}

/* Replaces `length` bytes at `at` by stars. */
static char *star(char *text, size_t size, char *at, size_t length) {
  size_t stars = 3, tail = strlen(at + length), before = (size_t)(at - text);
  if (before + stars + tail + 1 > size) { /* never longer than the room */
    stars = length < 3 ? length : 3;
  }
  memmove(at + stars, at + length, tail + 1);
  memset(at, '*', stars);
  return at + stars;
}

void ldx_redact(const ldx_secrets *secrets, char *text, size_t size) {
  /* Longest first: a secret may hold another one. */
  bool done[sizeof secrets->items / sizeof *secrets->items] = {false};
  for (size_t round = 0; round < secrets->count; round++) {
    size_t longest = 0, best = 0;
    for (size_t i = 0; i < secrets->count; i++)
      if (!done[i] && strlen(secrets->items[i]) > longest) longest = strlen(secrets->items[i]), best = i;
    if (!longest) return;
    done[best] = true;
    for (char *p = text; (p = strstr(p, secrets->items[best]));) p = star(text, size, p, longest);
  }
}

void ldx_redact_quoted(const char *target, char *text, size_t size) {
  const char *secret = strcasestr(target, "pass");
  if (!secret || authority(target)) return;
  for (char *open = text; (open = strchr(open, '"'));) {
    char *close = strchr(open + 1, '"');
    if (!close) return;
    char word[256];
    size_t length = (size_t)(close - open - 1);
    if (length && length < sizeof word) {
      memcpy(word, open + 1, length);
      word[length] = '\0';
      if (strstr(secret, word) && strcmp(word, "=") && strncasecmp(word, "pass", 4)) {
        close = star(text, size, open + 1, length);
      }
    } else if (length) {
      close = star(text, size, open + 1, length);
    }
    open = close + 1;
  }
}

bool ldx_target_is_ambiguous(const char *url) {
  const char *rest = authority(url);
  if (!rest) return false;
  const char *first = strchr(rest, '@'), *slash = strchr(rest, '/'), *query;
  if (!first) return false;
  const char *colon = strchr(rest, ':');
  if (slash && slash < first) {
    /* host:5432/name@with is odd but clear; user:pa/ss@host is not. */
    query = strchr(rest, '?');
    if (query && query < first && query > slash) return false;
    return colon && colon < slash && strspn(colon + 1, "0123456789,:") < (size_t)(slash - colon - 1);
  }
  query = strchr(first, '?');
  const char *again = strchr(first + 1, '@');
  return colon && colon < first && again && (!query || again < query);
}
