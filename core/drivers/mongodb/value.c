#include "value.h"

#include <string.h>

#include "base/buffer.h"
#include "json.h"

/* --- to BSON -------------------------------------------------------------------------------------------------------- */

static bool refuse(const char *name, const char *why, ldx_error *error) {
  return ldx_error_set(error, LDX_ERROR_USAGE, "the field %.200s %s", name, why);
}

static bool append(bson_t *to, const char *name, const ldx_value *value, ldx_error *error);

static bool append_list(bson_t *to, const char *name, const ldx_value *value, ldx_error *error) {
  bson_t part;
  bool ok = bson_append_array_begin(to, name, -1, &part);
  for (size_t i = 0; ok && i < value->count; i++) {
    char room[16];
    const char *key;
    bson_uint32_to_string((uint32_t)i, &key, room, sizeof room);
    ok = append(&part, key, &value->items[i], error);
  }
  return bson_append_array_end(to, &part) && ok;
}

static bool append_document(bson_t *to, const char *name, const ldx_value *value, ldx_error *error) {
  bson_t part;
  bool ok = bson_append_document_begin(to, name, -1, &part);
  ok = ok && ldx_mongo_append(&part, value, error);
  return bson_append_document_end(to, &part) && ok;
}

static bool append_integer(bson_t *to, const char *name, int64_t integer) {
  return integer >= INT32_MIN && integer <= INT32_MAX ? bson_append_int32(to, name, -1, (int32_t)integer)
                                                      : bson_append_int64(to, name, -1, integer);
}

static bool append_text(bson_t *to, const char *name, const ldx_value *value, ldx_error *error) {
  if (value->kind == LDX_VALUE_TEXT && !bson_utf8_validate(value->text, value->length, true))
    return refuse(name, "holds a text that is not valid UTF-8: bytes are lunadex.bson.binary(bytes)", error);
  return bson_append_utf8(to, name, -1, value->text, (int)value->length);
}

static bool append_json(bson_t *to, const char *name, const char *text, ldx_error *error) {
  bson_t holder;
  bson_iter_t iter;
  ldx_buffer wrapped;
  ldx_buffer_init(&wrapped, NULL);
  ldx_buffer_appendf(&wrapped, "{\"v\": %s}", text);
  bool ok = ldx_mongo_parse(ldx_buffer_string(&wrapped), "a text of JSON", &holder, error);
  ldx_buffer_free(&wrapped);
  if (!ok) {
    if (error) error->code = LDX_ERROR_USAGE;
    return false;
  }
  ok = bson_count_keys(&holder) == 1 && bson_iter_init_find(&iter, &holder, "v");
  if (!ok) refuse(name, "holds more than one value", error);
  if (ok && !bson_append_iter(to, name, -1, &iter)) ok = refuse(name, "is too large", error);
  bson_destroy(&holder);
  return ok;
}

static bool append(bson_t *to, const char *name, const ldx_value *value, ldx_error *error) {
  bson_decimal128_t decimal;
  bson_oid_t id;
  bool ok = true;
  switch (value->kind) {
  case LDX_VALUE_NULL:
    ok = bson_append_null(to, name, -1);
    break;
  case LDX_VALUE_BOOLEAN:
    ok = bson_append_bool(to, name, -1, value->boolean);
    break;
  case LDX_VALUE_INTEGER:
    ok = append_integer(to, name, value->integer);
    break;
  case LDX_VALUE_NUMBER:
    ok = bson_append_double(to, name, -1, value->number);
    break;
  case LDX_VALUE_TEXT:
  case LDX_VALUE_RAW_TEXT:
    return append_text(to, name, value, error);
  case LDX_VALUE_LIST:
    return append_list(to, name, value, error);
  case LDX_VALUE_DOCUMENT:
    return append_document(to, name, value, error);
  case LDX_VALUE_BINARY:
    ok = bson_append_binary(to, name, -1, (bson_subtype_t)(value->integer & 0xff), (const uint8_t *)value->text,
                            (uint32_t)value->length);
    break;
  case LDX_VALUE_DATE:
    ok = bson_append_date_time(to, name, -1, value->integer);
    break;
  case LDX_VALUE_LONG:
    ok = bson_append_int64(to, name, -1, value->integer);
    break;
  case LDX_VALUE_DECIMAL:
    if (!bson_decimal128_from_string(value->text, &decimal)) return refuse(name, "holds no decimal number", error);
    ok = bson_append_decimal128(to, name, -1, &decimal);
    break;
  case LDX_VALUE_OBJECT_ID:
    if (!bson_oid_is_valid(value->text, value->length)) return refuse(name, "holds no ObjectId", error);
    bson_oid_init_from_string(&id, value->text);
    ok = bson_append_oid(to, name, -1, &id);
    break;
  case LDX_VALUE_TIMESTAMP:
    ok = bson_append_timestamp(to, name, -1, (uint32_t)((uint64_t)value->integer >> 32), (uint32_t)value->integer);
    break;
  case LDX_VALUE_REGEX:
    ok = bson_append_regex(to, name, -1, value->text, value->options);
    break;
  case LDX_VALUE_CODE:
    ok = bson_append_code(to, name, -1, value->text);
    break;
  case LDX_VALUE_JSON:
    return append_json(to, name, value->text, error);
  case LDX_VALUE_MIN_KEY:
    ok = bson_append_minkey(to, name, -1);
    break;
  case LDX_VALUE_MAX_KEY:
    ok = bson_append_maxkey(to, name, -1);
    break;
  }
  return ok || refuse(name, "is too large", error);
}

bool ldx_mongo_append(bson_t *to, const ldx_value *document, ldx_error *error) {
  for (size_t i = 0; i < document->count; i++)
    if (!append(to, document->names[i], &document->items[i], error)) return false;
  return true;
}

/* --- from BSON ------------------------------------------------------------------------------------------------------ */

static ldx_value read_value(ldx_arena *arena, const bson_iter_t *iter);

static ldx_value text_of(ldx_arena *arena, ldx_value_kind kind, const char *text, size_t length) {
  if (kind == LDX_VALUE_TEXT && !bson_utf8_validate(text, length, true)) kind = LDX_VALUE_RAW_TEXT;
  return (ldx_value){.kind = kind, .text = ldx_arena_strndup(arena, text, length), .length = length};
}

/* What `iter`, which stands before the first, goes through. */
static ldx_value read_members(ldx_arena *arena, bson_iter_t *iter, bool named) {
  ldx_value *items = NULL;
  const char **names = NULL;
  size_t count = 0;
  bson_iter_t first = *iter;
  while (bson_iter_next(&first)) count++;
  items = LDX_ARENA_NEW(arena, ldx_value, count + 1);
  if (named) names = LDX_ARENA_NEW(arena, const char *, count + 1);
  for (count = 0; bson_iter_next(iter);) {
    if (named) names[count] = ldx_arena_strdup(arena, bson_iter_key(iter));
    items[count++] = read_value(arena, iter);
  }
  return (ldx_value){
      .kind = named ? LDX_VALUE_DOCUMENT : LDX_VALUE_LIST, .items = items, .names = names, .count = count};
}

static ldx_value read_binary(ldx_arena *arena, const bson_iter_t *iter) {
  bson_subtype_t subtype;
  uint32_t length;
  const uint8_t *bytes;
  bson_iter_binary(iter, &subtype, &length, &bytes);
  char *copy = ldx_arena_alloc(arena, (size_t)length + 1);
  if (length) memcpy(copy, bytes, length);
  return (ldx_value){.kind = LDX_VALUE_BINARY, .text = copy, .length = length, .integer = subtype};
}

static ldx_value read_value(ldx_arena *arena, const bson_iter_t *iter) {
  char room[BSON_DECIMAL128_STRING];
  uint32_t length, increment;
  const char *text, *options;
  bson_iter_t members;
  bson_decimal128_t decimal;
  switch (bson_iter_type(iter)) {
  case BSON_TYPE_BOOL:
    return (ldx_value){.kind = LDX_VALUE_BOOLEAN, .boolean = bson_iter_bool(iter)};
  case BSON_TYPE_INT32:
  case BSON_TYPE_INT64:
    return (ldx_value){.kind = LDX_VALUE_INTEGER, .integer = bson_iter_as_int64(iter)};
  case BSON_TYPE_DOUBLE:
    return (ldx_value){.kind = LDX_VALUE_NUMBER, .number = bson_iter_double(iter)};
  case BSON_TYPE_UTF8:
    text = bson_iter_utf8(iter, &length);
    return text_of(arena, LDX_VALUE_TEXT, text, length);
  case BSON_TYPE_SYMBOL:
    text = bson_iter_symbol(iter, &length);
    return text_of(arena, LDX_VALUE_TEXT, text, length);
  case BSON_TYPE_DOCUMENT:
  case BSON_TYPE_ARRAY:
    if (!bson_iter_recurse(iter, &members)) break;
    return read_members(arena, &members, BSON_ITER_HOLDS_DOCUMENT(iter));
  case BSON_TYPE_BINARY:
    return read_binary(arena, iter);
  case BSON_TYPE_OID:
    bson_oid_to_string(bson_iter_oid(iter), room);
    return text_of(arena, LDX_VALUE_OBJECT_ID, room, strlen(room));
  case BSON_TYPE_DATE_TIME:
    return (ldx_value){.kind = LDX_VALUE_DATE, .integer = bson_iter_date_time(iter)};
  case BSON_TYPE_TIMESTAMP:
    bson_iter_timestamp(iter, &length, &increment);
    return (ldx_value){.kind = LDX_VALUE_TIMESTAMP, .integer = (int64_t)((uint64_t)length << 32 | increment)};
  case BSON_TYPE_DECIMAL128:
    bson_iter_decimal128(iter, &decimal);
    bson_decimal128_to_string(&decimal, room);
    return text_of(arena, LDX_VALUE_DECIMAL, room, strlen(room));
  case BSON_TYPE_REGEX: {
    text = bson_iter_regex(iter, &options);
    ldx_value value = text_of(arena, LDX_VALUE_REGEX, text, strlen(text));
    value.options = ldx_arena_strdup(arena, options);
    return value;
  }
  case BSON_TYPE_CODE:
    text = bson_iter_code(iter, &length);
    return text_of(arena, LDX_VALUE_CODE, text, length);
  case BSON_TYPE_MINKEY:
    return (ldx_value){.kind = LDX_VALUE_MIN_KEY};
  case BSON_TYPE_MAXKEY:
    return (ldx_value){.kind = LDX_VALUE_MAX_KEY};
  default: /* null; undefined and the rest nobody has used for many years */
    break;
  }
  return (ldx_value){.kind = LDX_VALUE_NULL};
}

ldx_value ldx_mongo_document(ldx_arena *arena, const bson_t *document) {
  bson_iter_t iter;
  if (!bson_iter_init(&iter, document)) return (ldx_value){.kind = LDX_VALUE_DOCUMENT};
  return read_members(arena, &iter, true);
}
