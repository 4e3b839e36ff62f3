#include "shell.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "path.h"

/* JavaScript counts exactly up to here. */
static const int64_t exact = INT64_C(1) << 53;

static bool is_identifier(const char *name, size_t length) {
  if (!length || isdigit((unsigned char)*name)) return false;
  for (size_t i = 0; i < length; i++)
    if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '$') return false;
  return true;
}

void ldx_mongo_shell_string(ldx_buffer *to, const char *text) {
  ldx_mongo_quote(to, text, strlen(text));
}

void ldx_mongo_shell_name(ldx_buffer *to, const char *name) {
  if (is_identifier(name, strlen(name)))
    ldx_buffer_append(to, name);
  else
    ldx_mongo_shell_string(to, name);
}

/* As short as it can be while it reads back as the same. */
static void append_double(ldx_buffer *to, double number) {
  char text[40];
  if (isnan(number))
    ldx_buffer_append(to, "NaN");
  else if (isinf(number))
    ldx_buffer_append(to, number < 0 ? "-Infinity" : "Infinity");
  else {
    for (int digits = 15; digits <= 17; digits++) {
      snprintf(text, sizeof text, "%.*g", digits, number);
      if (strtod(text, NULL) == number) break;
    }
    ldx_buffer_append(to, text);
  }
}

static void append_binary(ldx_buffer *to, const bson_iter_t *value) {
  bson_subtype_t subtype;
  uint32_t length;
  const uint8_t *bytes;
  bson_iter_binary(value, &subtype, &length, &bytes);
  bool uuid = subtype == BSON_SUBTYPE_UUID && length == 16;
  ldx_buffer_appendf(to, uuid ? "UUID(\"" : "HexData(%d, \"", (int)subtype);
  for (uint32_t i = 0; i < length; i++)
    ldx_buffer_appendf(to, "%s%02x", uuid && (i == 4 || i == 6 || i == 8 || i == 10) ? "-" : "", bytes[i]);
  ldx_buffer_append(to, "\")");
}

static void append_date(ldx_buffer *to, int64_t milliseconds) {
  time_t seconds = (time_t)(milliseconds / 1000 - (milliseconds % 1000 < 0));
  struct tm parts;
  char text[64];
  /* Years that ISODate does not read. */
  if (!gmtime_r(&seconds, &parts) || parts.tm_year < -1900 || parts.tm_year > 8099) {
    ldx_buffer_appendf(to, "new Date(%" PRId64 ")", milliseconds);
    return;
  }
  strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  ldx_buffer_appendf(to, "ISODate(\"%s.%03dZ\")", text, (int)((milliseconds % 1000 + 1000) % 1000));
}

static void append_regex(ldx_buffer *to, const bson_iter_t *value) {
  const char *options, *pattern = bson_iter_regex(value, &options);
  ldx_buffer_append(to, "RegExp(");
  ldx_mongo_shell_string(to, pattern);
  ldx_buffer_append(to, ", ");
  ldx_mongo_shell_string(to, options);
  ldx_buffer_append(to, ")");
}

static void append_scalar(ldx_buffer *to, const bson_iter_t *value) {
  char text[BSON_DECIMAL128_STRING];
  const char *string;
  bson_decimal128_t decimal;
  uint32_t length, t, i;
  switch (bson_iter_type(value)) {
  case BSON_TYPE_DOUBLE:
    append_double(to, bson_iter_double(value));
    break;
  case BSON_TYPE_UTF8:
    string = bson_iter_utf8(value, &length);
    ldx_mongo_quote(to, string, length);
    break;
  case BSON_TYPE_SYMBOL:
    string = bson_iter_symbol(value, &length);
    ldx_mongo_quote(to, string, length);
    break;
  case BSON_TYPE_BINARY:
    append_binary(to, value);
    break;
  case BSON_TYPE_OID:
    bson_oid_to_string(bson_iter_oid(value), text);
    ldx_buffer_appendf(to, "ObjectId(\"%s\")", text);
    break;
  case BSON_TYPE_BOOL:
    ldx_buffer_append(to, bson_iter_bool(value) ? "true" : "false");
    break;
  case BSON_TYPE_DATE_TIME:
    append_date(to, bson_iter_date_time(value));
    break;
  case BSON_TYPE_NULL:
    ldx_buffer_append(to, "null");
    break;
  case BSON_TYPE_REGEX:
    append_regex(to, value);
    break;
  case BSON_TYPE_INT32:
    ldx_buffer_appendf(to, "%" PRId32, bson_iter_int32(value));
    break;
  case BSON_TYPE_INT64: {
    int64_t number = bson_iter_int64(value);
    bool plain = number <= exact && number >= -exact;
    ldx_buffer_appendf(to, plain ? "%" PRId64 : "Long(\"%" PRId64 "\")", number);
    break;
  }
  case BSON_TYPE_DECIMAL128:
    bson_iter_decimal128(value, &decimal);
    bson_decimal128_to_string(&decimal, text);
    ldx_buffer_appendf(to, "Decimal128(\"%s\")", text);
    break;
  case BSON_TYPE_TIMESTAMP:
    bson_iter_timestamp(value, &t, &i);
    ldx_buffer_appendf(to, "Timestamp({ t: %u, i: %u })", t, i);
    break;
  case BSON_TYPE_CODE:
    string = bson_iter_code(value, &length);
    ldx_buffer_append(to, "Code(");
    ldx_mongo_quote(to, string, length);
    ldx_buffer_append(to, ")");
    break;
  case BSON_TYPE_MINKEY:
    ldx_buffer_append(to, "MinKey()");
    break;
  case BSON_TYPE_MAXKEY:
    ldx_buffer_append(to, "MaxKey()");
    break;
  default: /* types that nobody has been able to store for many years */
    ldx_buffer_append(to, "undefined");
  }
}

/* `only`: leave out what createIndex takes elsewhere; NULL takes all. */
static void append_fields(ldx_buffer *to, bson_iter_t *field, bool named, bool (*only)(const bson_iter_t *field)) {
  ldx_buffer_append(to, named ? "{" : "[");
  bool any = false;
  while (bson_iter_next(field)) {
    if (only && !only(field)) continue;
    ldx_buffer_append(to, any ? ", " : named ? " " : "");
    any = true;
    if (named) {
      ldx_mongo_shell_name(to, bson_iter_key(field));
      ldx_buffer_append(to, ": ");
    }
    ldx_mongo_shell_value(to, field);
  }
  ldx_buffer_append(to, named ? any ? " }" : "}" : "]");
}

void ldx_mongo_shell_value(ldx_buffer *to, const bson_iter_t *value) {
  bson_iter_t inner;
  if (BSON_ITER_HOLDS_DOCUMENT(value) || BSON_ITER_HOLDS_ARRAY(value)) {
    if (bson_iter_recurse(value, &inner)) append_fields(to, &inner, BSON_ITER_HOLDS_DOCUMENT(value), NULL);
  } else {
    append_scalar(to, value);
  }
}

void ldx_mongo_shell_document(ldx_buffer *to, const bson_t *document) {
  bson_iter_t field;
  if (bson_iter_init(&field, document)) append_fields(to, &field, true, NULL);
}

void ldx_mongo_shell_array(ldx_buffer *to, const bson_t *array) {
  bson_iter_t item;
  if (bson_iter_init(&item, array)) append_fields(to, &item, false, NULL);
}

/* Whether `db.NAME` is a method of mongosh, or of every object of JavaScript, that has no capital letter. */
static bool is_method(const char *name) {
  static const char *const methods[] = {"aggregate", "auth", "constructor", "eval",    "hello", "help",
                                        "logout",    "sql",  "stats",       "version", "watch"};
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
    if (!strcmp(methods[i], name)) return true;
  return false;
}

void ldx_mongo_shell_collection(ldx_buffer *to, const char *collection) {
  /* Most methods have a capital letter; after a dot there are those of collections, as in `db.logs.find`. */
  static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
  if (islower((unsigned char)*collection) && !collection[strspn(collection, plain)] && !is_method(collection)) {
    ldx_buffer_appendf(to, "db.%s", collection);
  } else {
    ldx_buffer_append(to, "db.getCollection(");
    ldx_mongo_shell_string(to, collection);
    ldx_buffer_append(to, ")");
  }
}

static bool is_option(const bson_iter_t *field) {
  const char *name = bson_iter_key(field);
  if (!strcmp(name, "v")) return ldx_mongo_double(field) != 2; /* the server's default, which nearly all have */
  return strcmp(name, "key") != 0 && strcmp(name, "ns") != 0;
}

void ldx_mongo_shell_create(ldx_buffer *to, const char *collection, const bson_t *spec, const char *quorum) {
  bson_iter_t iter;
  ldx_mongo_shell_collection(to, collection);
  ldx_buffer_append(to, ".createIndex(");
  if (bson_iter_init_find(&iter, spec, "key")) ldx_mongo_shell_value(to, &iter);
  ldx_buffer_append(to, ", ");
  if (bson_iter_init(&iter, spec)) append_fields(to, &iter, true, is_option);
  if (quorum) {
    ldx_buffer_append(to, ", ");
    if (strspn(quorum, "0123456789") == strlen(quorum))
      ldx_buffer_append(to, quorum);
    else
      ldx_mongo_shell_string(to, quorum);
  }
  ldx_buffer_append(to, ")");
}

void ldx_mongo_shell_command(ldx_buffer *to, const bson_t *command) {
  ldx_buffer_append(to, "db.runCommand(");
  ldx_mongo_shell_document(to, command);
  ldx_buffer_append(to, ")");
}
