#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- JSON ----------------------------------------------------------------------------------------------------------- */

static void append_value(ldx_buffer *to, const bson_iter_t *value);

static void append_members(ldx_buffer *to, bson_iter_t *member, bool named) {
  ldx_buffer_append_char(to, named ? '{' : '[');
  for (const char *separator = ""; bson_iter_next(member); separator = ", ") {
    ldx_buffer_append(to, separator);
    if (named) {
      ldx_mongo_quote(to, bson_iter_key(member), bson_iter_key_len(member));
      ldx_buffer_append(to, ": ");
    }
    append_value(to, member);
  }
  ldx_buffer_append_char(to, named ? '}' : ']');
}

/* `{"$code": "…"` of a text, which the caller ends. */
static void append_named(ldx_buffer *to, const char *name, const char *text, size_t length) {
  ldx_buffer_appendf(to, "{\"%s\": ", name);
  ldx_mongo_quote(to, text, length);
}

static void append_regex(ldx_buffer *to, const bson_iter_t *value) {
  const char *options, *pattern = bson_iter_regex(value, &options);
  ldx_buffer_append(to, "{\"$regularExpression\": ");
  append_named(to, "pattern", pattern, strlen(pattern));
  ldx_buffer_append(to, ", \"options\": ");
  ldx_mongo_quote(to, options, strlen(options));
  ldx_buffer_append(to, "}}");
}

static void append_scoped_code(ldx_buffer *to, const bson_iter_t *value) {
  uint32_t length, size;
  const uint8_t *bytes;
  const char *code = bson_iter_codewscope(value, &length, &size, &bytes);
  bson_t scope;
  bson_iter_t member;
  append_named(to, "$code", code, length);
  ldx_buffer_append(to, ", \"$scope\": ");
  if (bson_init_static(&scope, bytes, size) && bson_iter_init(&member, &scope)) append_members(to, &member, true);
  ldx_buffer_append_char(to, '}');
}

static void append_pointer(ldx_buffer *to, const bson_iter_t *value) {
  uint32_t length;
  const char *collection;
  const bson_oid_t *id;
  char digits[25];
  bson_iter_dbpointer(value, &length, &collection, &id);
  bson_oid_to_string(id, digits);
  ldx_buffer_append(to, "{\"$dbPointer\": ");
  append_named(to, "$ref", collection, strlen(collection));
  ldx_buffer_appendf(to, ", \"$id\": {\"$oid\": \"%s\"}}}", digits);
}

/* What has no texts in it: libbson writes `{ "v" : { "$oid" : "…" } }`, with blanks that only it has use for. */
static void append_other(ldx_buffer *to, const bson_iter_t *value) {
  bson_t holder = BSON_INITIALIZER;
  size_t length;
  bson_append_iter(&holder, "v", 1, value);
  char *json = bson_as_relaxed_extended_json(&holder, &length);
  for (const char *p = json + strlen("{ \"v\" : "), *end = json + length - strlen(" }"); p < end; p++)
    if (*p != ' ' || p[-1] == ':' || p[-1] == ',') ldx_buffer_append_char(to, *p);
  bson_free(json);
  bson_destroy(&holder);
}

/* The last date with a year of four digits: libbson writes later ones in a form that it does not read itself. */
static const int64_t last_date = INT64_C(253402300799999);

/* Texts are written here, for libbson would write nothing of what is no UTF-8: it stays as it is. */
static void append_value(ldx_buffer *to, const bson_iter_t *value) {
  bson_iter_t member;
  uint32_t length;
  const char *text;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    if (bson_iter_recurse(value, &member)) append_members(to, &member, BSON_ITER_HOLDS_DOCUMENT(value));
    return;
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(value, &length);
    ldx_mongo_quote(to, text, length);
    return;
  case BSON_TYPE_SYMBOL:
    text = bson_iter_symbol(value, &length);
    append_named(to, "$symbol", text, length);
    ldx_buffer_append_char(to, '}');
    return;
  case BSON_TYPE_CODE:
    text = bson_iter_code(value, &length);
    append_named(to, "$code", text, length);
    ldx_buffer_append_char(to, '}');
    return;
  case BSON_TYPE_CODEWSCOPE:
    append_scoped_code(to, value);
    return;
  case BSON_TYPE_DBPOINTER:
    append_pointer(to, value);
    return;
  case BSON_TYPE_REGEX:
    append_regex(to, value);
    return;
  case BSON_TYPE_BOOL:
    ldx_buffer_append(to, bson_iter_bool(value) ? "true" : "false");
    return;
  case BSON_TYPE_INT32:
    ldx_buffer_appendf(to, "%" PRId32, bson_iter_int32(value));
    return;
  case BSON_TYPE_DATE_TIME:
    if (bson_iter_date_time(value) <= last_date) break;
    ldx_buffer_appendf(to, "{\"$date\": {\"$numberLong\": \"%" PRId64 "\"}}", bson_iter_date_time(value));
    return;
  default:
    break;
  }
  append_other(to, value);
}

const char *ldx_mongo_json(ldx_arena *arena, const bson_t *document) {
  ldx_buffer b;
  bson_iter_t member;
  ldx_buffer_init(&b, arena);
  if (bson_iter_init(&member, document)) append_members(&b, &member, true);
  return ldx_buffer_string(&b);
}

const char *ldx_mongo_json_value(ldx_arena *arena, const bson_iter_t *iter) {
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  append_value(&b, iter);
  return ldx_buffer_string(&b);
}

/* libbson takes an object that begins with "$type" for binary data as it was written long ago; to us it is an operator. So
 * the word goes in under another name, and comes out under its own. */
#define MASKED "\001type"

static char *mask(const char *text) {
  static const char word[] = "\"$type\"", other[] = "\"\\u0001type\"";
  ldx_buffer b;
  ldx_buffer_init(&b, NULL);
  for (const char *found; (found = strstr(text, word)); text = found + strlen(word)) {
    ldx_buffer_append_bytes(&b, text, (size_t)(found - text));
    const char *after = found + strlen(word) + strspn(found + strlen(word), " \t\r\n");
    ldx_buffer_append(&b, *after == ':' ? other : word);
  }
  ldx_buffer_append(&b, text);
  return b.data;
}

static void unmask(bson_iter_t *from, bson_t *to) {
  while (bson_iter_next(from)) {
    const char *name = !strcmp(bson_iter_key(from), MASKED) ? "$type" : bson_iter_key(from);
    bson_iter_t member;
    bson_t part;
    bool document = BSON_ITER_HOLDS_DOCUMENT(from), array = BSON_ITER_HOLDS_ARRAY(from);
    if ((!document && !array) || !bson_iter_recurse(from, &member)) {
      bson_append_iter(to, name, -1, from);
    } else if (document) {
      bson_append_document_begin(to, name, -1, &part);
      unmask(&member, &part);
      bson_append_document_end(to, &part);
    } else {
      bson_append_array_begin(to, name, -1, &part);
      unmask(&member, &part);
      bson_append_array_end(to, &part);
    }
  }
}

static bool from_json(bson_t *document, const char *text, bson_error_t *reason) {
  char *masked = mask(text);
  bson_t parsed;
  bson_iter_t iter;
  bool ok = bson_init_from_json(&parsed, masked, (ssize_t)strlen(masked), reason);
  if (ok) {
    bson_init(document);
    if (bson_iter_init(&iter, &parsed)) unmask(&iter, document);
    bson_destroy(&parsed);
  }
  free(masked);
  return ok;
}

bool ldx_mongo_parse(const char *text, const char *what, bson_t *document, ldx_error *error) {
  bson_error_t reason = {0};
  const char *start = text + strspn(text, " \t\r\n");
  bool object = *start == '{';
  if (object && from_json(document, start, &reason)) return true;
  return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s is not a JSON object%s%s", what, object ? ": " : "",
                       object ? reason.message : "");
}

/* What nearly all options say, without libbson's reader, which clears sixteen kilobytes before it begins. */
static bool read_plain(const char *text, bson_t *holder) {
  size_t digits = strspn(text, "0123456789");
  bool truth = !strcmp(text, "true"), number = digits && digits < 10 && !text[digits] && (*text != '0' || digits == 1);
  if (!truth && !number && strcmp(text, "false") != 0) return false;
  bson_init(holder);
  return number ? BSON_APPEND_INT32(holder, "v", (int32_t)atoi(text)) : BSON_APPEND_BOOL(holder, "v", truth);
}

void ldx_mongo_parse_value(const char *text, bson_t *holder, bson_iter_t *iter) {
  if (read_plain(text, holder)) {
    bson_iter_init_find(iter, holder, "v");
    return;
  }
  ldx_buffer b;
  bson_error_t ignored;
  ldx_buffer_init(&b, NULL);
  ldx_buffer_appendf(&b, "{\"v\": %s}", text);
  bool ok = from_json(holder, ldx_buffer_string(&b), &ignored);
  if (ok && !(bson_count_keys(holder) == 1 && bson_iter_init_find(iter, holder, "v"))) {
    bson_destroy(holder);
    ok = false;
  }
  if (!ok) {
    bson_init(holder);
    BSON_APPEND_UTF8(holder, "v", text);
  }
  bson_iter_init_find(iter, holder, "v");
  ldx_buffer_free(&b);
}

/* --- numbers -------------------------------------------------------------------------------------------------------- */

enum { DIGITS = 64 };

/* "-12.50E+3" → sign, digits without zeros at either end, exponent of the last digit. */
typedef struct decimal {
  bool negative;
  char digits[DIGITS];
  size_t count;
  long exponent;
} decimal;

static void read_decimal(const char *text, decimal *d) {
  *d = (decimal){.negative = *text == '-'};
  const char *p = text + (*text == '-' || *text == '+');
  bool point = false;
  for (; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
    if (*p == '.') {
      point = true;
      continue;
    }
    if (point) d->exponent--;
    if (*p == '0' && d->count == 0) continue;
    if (d->count < DIGITS)
      d->digits[d->count++] = *p;
    else
      d->exponent++;
  }
  if (*p == 'e' || *p == 'E') d->exponent += strtol(p + 1, NULL, 10);
  while (d->count && d->digits[d->count - 1] == '0') d->count--, d->exponent++;
  if (!d->count) *d = (decimal){0};
}

static void write_decimal(ldx_buffer *out, const decimal *d) {
  long count = (long)d->count, point = count + d->exponent; /* how many digits stand before it */
  if (d->negative) ldx_buffer_append_char(out, '-');
  if (!count) {
    ldx_buffer_append_char(out, '0');
  } else if (point < -5 || point > 21) {
    ldx_buffer_append_bytes(out, d->digits, d->count);
    ldx_buffer_appendf(out, "e%ld", d->exponent);
  } else {
    if (point <= 0) ldx_buffer_append(out, "0.");
    for (long i = point; i < 0; i++) ldx_buffer_append_char(out, '0');
    for (long i = 0; i < count || i < point; i++) {
      if (i == point && i > 0) ldx_buffer_append_char(out, '.');
      ldx_buffer_append_char(out, i < count ? d->digits[i] : '0');
    }
  }
}

void ldx_mongo_number(ldx_buffer *out, const bson_iter_t *iter) {
  char text[BSON_DECIMAL128_STRING + 64] = "0";
  bson_decimal128_t value;
  switch (bson_iter_type(iter)) {
  case BSON_TYPE_DOUBLE: {
    double number = bson_iter_double(iter);
    if (isnan(number)) {
      ldx_buffer_append(out, "NaN");
      return;
    }
    if (isinf(number)) {
      ldx_buffer_append(out, number < 0 ? "-Infinity" : "Infinity");
      return;
    }
    /* More digits than a decimal has: one that is equal has these, and no other double has them all. */
    snprintf(text, sizeof text, "%.39e", number);
    break;
  }
  case BSON_TYPE_DECIMAL128:
    bson_iter_decimal128(iter, &value);
    bson_decimal128_to_string(&value, text);
    if (strchr(text, 'N') || strchr(text, 'I')) {
      ldx_buffer_append(out, text);
      return;
    }
    break;
  default:
    ldx_buffer_appendf(out, "%" PRId64, bson_iter_as_int64(iter));
    return;
  }
  decimal d;
  read_decimal(text, &d);
  write_decimal(out, &d);
}

/* --- forms ---------------------------------------------------------------------------------------------------------- */

void ldx_mongo_quote(ldx_buffer *out, const char *text, size_t length) {
  static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
  ldx_buffer_append_char(out, '"');
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    const char *found = c ? strchr(escaped, c) : NULL;
    if (found)
      ldx_buffer_appendf(out, "\\%c", letters[found - escaped]);
    else if (c < ' ')
      ldx_buffer_appendf(out, "\\u%04x", c);
    else
      ldx_buffer_append_char(out, (char)c);
  }
  ldx_buffer_append_char(out, '"');
}

static void form_members(ldx_buffer *out, const bson_iter_t *iter, bool named) {
  bson_iter_t member;
  const char *separator = "";
  if (!bson_iter_recurse(iter, &member)) return;
  while (bson_iter_next(&member)) {
    ldx_buffer_append(out, separator);
    separator = ",";
    if (named) {
      ldx_mongo_quote(out, bson_iter_key(&member), bson_iter_key_len(&member));
      ldx_buffer_append_char(out, ':');
    }
    ldx_mongo_form(out, &member);
  }
}

static void form_binary(ldx_buffer *out, const bson_iter_t *iter) {
  bson_subtype_t subtype;
  uint32_t length;
  const uint8_t *bytes;
  bson_iter_binary(iter, &subtype, &length, &bytes);
  ldx_buffer_appendf(out, "binary(%d,", (int)subtype);
  for (uint32_t i = 0; i < length; i++) ldx_buffer_appendf(out, "%02x", bytes[i]);
  ldx_buffer_append_char(out, ')');
}

void ldx_mongo_form(ldx_buffer *out, const bson_iter_t *iter) {
  uint32_t length, increment;
  const char *text, *options;
  char id[25];
  switch (bson_iter_type(iter)) {
  case BSON_TYPE_DOUBLE:
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
  case BSON_TYPE_DECIMAL128:
    ldx_mongo_number(out, iter);
    break;
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(iter, &length);
    ldx_mongo_quote(out, text, length);
    break;
  case BSON_TYPE_SYMBOL:
    text = bson_iter_symbol(iter, &length);
    ldx_mongo_quote(out, text, length);
    break;
  case BSON_TYPE_DOCUMENT:
    ldx_buffer_append_char(out, '{');
    form_members(out, iter, true);
    ldx_buffer_append_char(out, '}');
    break;
  case BSON_TYPE_ARRAY:
    ldx_buffer_append_char(out, '[');
    form_members(out, iter, false);
    ldx_buffer_append_char(out, ']');
    break;
  case BSON_TYPE_BOOL:
    ldx_buffer_append(out, bson_iter_bool(iter) ? "true" : "false");
    break;
  case BSON_TYPE_OID:
    bson_oid_to_string(bson_iter_oid(iter), id);
    ldx_buffer_appendf(out, "id(%s)", id);
    break;
  case BSON_TYPE_DATE_TIME:
    ldx_buffer_appendf(out, "date(%lld)", (long long)bson_iter_date_time(iter));
    break;
  case BSON_TYPE_TIMESTAMP: {
    uint32_t seconds;
    bson_iter_timestamp(iter, &seconds, &increment);
    ldx_buffer_appendf(out, "timestamp(%u,%u)", seconds, increment);
    break;
  }
  case BSON_TYPE_BINARY:
    form_binary(out, iter);
    break;
  case BSON_TYPE_REGEX:
    text = bson_iter_regex(iter, &options);
    ldx_buffer_append(out, "regex(");
    ldx_mongo_quote(out, text, strlen(text));
    ldx_buffer_appendf(out, "%s)", options);
    break;
  case BSON_TYPE_CODE:
    text = bson_iter_code(iter, &length);
    ldx_buffer_append(out, "code(");
    ldx_mongo_quote(out, text, length);
    ldx_buffer_append_char(out, ')');
    break;
  default: /* null, undefined, the smallest and the largest key; the rest nobody has used for many years */
    ldx_buffer_appendf(out, "type(%d)", (int)bson_iter_type(iter));
  }
}
