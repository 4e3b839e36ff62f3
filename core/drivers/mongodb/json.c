#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- JSON ----------------------------------------------------------------------------------------------------------- */

/* libbson writes `{ "a" : 1 }`; without the blanks that only it has use for. */
static const char *tidy(ldx_arena *arena, const char *json) {
  char *text = ldx_arena_alloc(arena, strlen(json) + 1), *to = text;
  bool quoted = false;
  for (const char *p = json; *p; p++) {
    if (*p == '"') quoted = !quoted;
    if (quoted && *p == '\\') {
      *to++ = *p++;
    } else if (!quoted && *p == ' ') {
      bool opens = to > text && (to[-1] == '{' || to[-1] == '[');
      if (opens || p[1] == ':' || p[1] == '}' || p[1] == ']' || p[1] == ' ') continue;
    }
    *to++ = *p;
  }
  *to = '\0';
  return text;
}

/* The last date with a year of four digits: libbson writes later ones in a form that it does not read itself. */
static const int64_t last_date = INT64_C(253402300799999);

static bool has_late_date(bson_iter_t iter) {
  bson_iter_t member;
  while (bson_iter_next(&iter)) {
    if (BSON_ITER_HOLDS_DATE_TIME(&iter) && bson_iter_date_time(&iter) > last_date) return true;
    bool nested = BSON_ITER_HOLDS_DOCUMENT(&iter) || BSON_ITER_HOLDS_ARRAY(&iter);
    if (nested && bson_iter_recurse(&iter, &member) && has_late_date(member)) return true;
  }
  return false;
}

/* A copy with {"$date": {"$numberLong": "…"}} as an object in the place of such dates, which is written like any other. */
static void spell_late_dates(bson_iter_t from, bson_t *to) {
  while (bson_iter_next(&from)) {
    const char *name = bson_iter_key(&from);
    bson_iter_t member;
    bson_t part;
    if (BSON_ITER_HOLDS_DATE_TIME(&from) && bson_iter_date_time(&from) > last_date) {
      char milliseconds[24];
      snprintf(milliseconds, sizeof milliseconds, "%" PRId64, bson_iter_date_time(&from));
      BCON_APPEND(to, name, "{", "$date", "{", "$numberLong", BCON_UTF8(milliseconds), "}", "}");
    } else if (BSON_ITER_HOLDS_DOCUMENT(&from) && bson_iter_recurse(&from, &member)) {
      bson_append_document_begin(to, name, -1, &part);
      spell_late_dates(member, &part);
      bson_append_document_end(to, &part);
    } else if (BSON_ITER_HOLDS_ARRAY(&from) && bson_iter_recurse(&from, &member)) {
      bson_append_array_begin(to, name, -1, &part);
      spell_late_dates(member, &part);
      bson_append_array_end(to, &part);
    } else {
      bson_append_iter(to, name, -1, &from);
    }
  }
}

static char *write_json(const bson_t *document) {
  bson_iter_t iter;
  if (!bson_iter_init(&iter, document) || !has_late_date(iter)) return bson_as_relaxed_extended_json(document, NULL);
  bson_t copy = BSON_INITIALIZER;
  spell_late_dates(iter, &copy);
  char *json = bson_as_relaxed_extended_json(&copy, NULL);
  bson_destroy(&copy);
  return json;
}

const char *ldx_mongo_json(ldx_arena *arena, const bson_t *document) {
  char *json = write_json(document);
  const char *text = json ? tidy(arena, json) : "{}"; /* NULL: text that is no UTF-8 */
  bson_free(json);
  return text;
}

const char *ldx_mongo_json_value(ldx_arena *arena, const bson_iter_t *iter) {
  bson_t holder = BSON_INITIALIZER;
  bson_append_iter(&holder, "v", 1, iter);
  const char *text = ldx_mongo_json(arena, &holder);
  bson_destroy(&holder);
  size_t length = strlen(text), before = strlen("{\"v\": ");
  return length > before ? ldx_arena_strndup(arena, text + before, length - before - 1) : "null";
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
  ldx_buffer_append_char(out, '"');
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c < ' ' || c == '"' || c == '\\')
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
