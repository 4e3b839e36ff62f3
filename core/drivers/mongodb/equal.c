#include "equal.h"

#include <math.h>
#include <string.h>

#include "json.h"

static bool is_number(bson_type_t type) {
  return type == BSON_TYPE_INT32 || type == BSON_TYPE_INT64 || type == BSON_TYPE_DOUBLE || type == BSON_TYPE_DECIMAL128;
}

/* Whatever types hold them: their values in digits. */
static bool same_decimal(const bson_iter_t *a, const bson_iter_t *b) {
  ldx_buffer x, y;
  ldx_buffer_init(&x, NULL);
  ldx_buffer_init(&y, NULL);
  ldx_mongo_number(&x, a);
  ldx_mongo_number(&y, b);
  bool same = !strcmp(ldx_buffer_string(&x), ldx_buffer_string(&y));
  ldx_buffer_free(&x);
  ldx_buffer_free(&y);
  return same;
}

static bool same_double(double number, int64_t whole) {
  /* Only in this range can the conversion back not overflow. */
  return number >= -0x1p63 && number < 0x1p63 && number == floor(number) && (int64_t)number == whole;
}

static bool same_number(const bson_iter_t *a, const bson_iter_t *b) {
  bson_type_t x = bson_iter_type(a), y = bson_iter_type(b);
  if (x == BSON_TYPE_DECIMAL128 || y == BSON_TYPE_DECIMAL128) return same_decimal(a, b);
  if (x != BSON_TYPE_DOUBLE && y != BSON_TYPE_DOUBLE) return bson_iter_as_int64(a) == bson_iter_as_int64(b);
  if (x != BSON_TYPE_DOUBLE) return same_double(bson_iter_double(b), bson_iter_as_int64(a));
  if (y != BSON_TYPE_DOUBLE) return same_double(bson_iter_double(a), bson_iter_as_int64(b));
  double m = bson_iter_double(a), n = bson_iter_double(b);
  return m == n || (isnan(m) && isnan(n));
}

static bool is_text(bson_type_t type) {
  return type == BSON_TYPE_UTF8 || type == BSON_TYPE_SYMBOL;
}

static bool same_text(const bson_iter_t *a, const bson_iter_t *b) {
  uint32_t m, n;
  const char *x = bson_iter_type(a) == BSON_TYPE_UTF8 ? bson_iter_utf8(a, &m) : bson_iter_symbol(a, &m);
  const char *y = bson_iter_type(b) == BSON_TYPE_UTF8 ? bson_iter_utf8(b, &n) : bson_iter_symbol(b, &n);
  return m == n && !memcmp(x, y, m);
}

static bool same_fields(const bson_iter_t *a, const bson_iter_t *b) {
  bson_iter_t x, y;
  if (!bson_iter_recurse(a, &x) || !bson_iter_recurse(b, &y)) return false;
  for (;;) {
    bool more = bson_iter_next(&x);
    if (more != bson_iter_next(&y)) return false;
    if (!more) return true;
    if (strcmp(bson_iter_key(&x), bson_iter_key(&y)) != 0 || !ldx_mongo_equal(&x, &y)) return false;
  }
}

/* Other types hold one value in one form. */
static bool same_bytes(const bson_iter_t *a, const bson_iter_t *b) {
  bson_t x = BSON_INITIALIZER, y = BSON_INITIALIZER;
  bool same = bson_append_iter(&x, "", 0, a) && bson_append_iter(&y, "", 0, b) && bson_equal(&x, &y);
  bson_destroy(&x);
  bson_destroy(&y);
  return same;
}

bool ldx_mongo_equal(const bson_iter_t *a, const bson_iter_t *b) {
  bson_type_t x = bson_iter_type(a), y = bson_iter_type(b);
  if (is_number(x) && is_number(y)) return same_number(a, b);
  if (is_text(x) && is_text(y)) return same_text(a, b);
  if (x != y) return false;
  if (x == BSON_TYPE_DOCUMENT || x == BSON_TYPE_ARRAY) return same_fields(a, b);
  return same_bytes(a, b);
}
