#include "path.h"

#include <math.h>
#include <stdlib.h>

bool ldx_mongo_find(const bson_t *document, const char *path, bson_iter_t *found) {
  bson_iter_t iter;
  return bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, found);
}

double ldx_mongo_double(const bson_iter_t *value) {
  char text[BSON_DECIMAL128_STRING];
  bson_decimal128_t decimal;
  if (!BSON_ITER_HOLDS_DECIMAL128(value)) return bson_iter_as_double(value);
  bson_iter_decimal128(value, &decimal);
  bson_decimal128_to_string(&decimal, text);
  return strtod(text, NULL);
}

double ldx_mongo_whole(const bson_iter_t *value) {
  double number = ldx_mongo_double(value);
  return BSON_ITER_HOLDS_DECIMAL128(value) ? nearbyint(number) : trunc(number);
}

bool ldx_mongo_truth(const bson_iter_t *value) {
  return BSON_ITER_HOLDS_DECIMAL128(value) ? ldx_mongo_double(value) != 0 : bson_iter_as_bool(value);
}

const char *ldx_mongo_text_at(const bson_t *document, const char *path) {
  bson_iter_t found;
  bool is = ldx_mongo_find(document, path, &found) && BSON_ITER_HOLDS_UTF8(&found);
  return is ? bson_iter_utf8(&found, NULL) : "";
}

bool ldx_mongo_flag_at(const bson_t *document, const char *path) {
  bson_iter_t found;
  return ldx_mongo_find(document, path, &found) && ldx_mongo_truth(&found);
}

double ldx_mongo_number_at(const bson_t *document, const char *path) {
  bson_iter_t found;
  return ldx_mongo_find(document, path, &found) ? ldx_mongo_double(&found) : 0;
}

int64_t ldx_mongo_integer_at(const bson_t *document, const char *path) {
  bson_iter_t found;
  return ldx_mongo_find(document, path, &found) ? bson_iter_as_int64(&found) : 0;
}

bool ldx_mongo_view(const bson_iter_t *iter, bson_t *part) {
  uint32_t length;
  const uint8_t *bytes;
  if (!BSON_ITER_HOLDS_DOCUMENT(iter)) return false;
  bson_iter_document(iter, &length, &bytes);
  return bson_init_static(part, bytes, length);
}

bool ldx_mongo_document_at(const bson_t *document, const char *path, bson_t *part) {
  bson_iter_t found;
  return ldx_mongo_find(document, path, &found) && ldx_mongo_view(&found, part);
}

bool ldx_mongo_members_at(const bson_t *document, const char *path, bson_iter_t *member) {
  bson_iter_t found;
  bool is =
      ldx_mongo_find(document, path, &found) && (BSON_ITER_HOLDS_DOCUMENT(&found) || BSON_ITER_HOLDS_ARRAY(&found));
  return is && bson_iter_recurse(&found, member);
}

size_t ldx_mongo_count_at(const bson_t *document, const char *path) {
  bson_iter_t member;
  size_t count = 0;
  if (ldx_mongo_members_at(document, path, &member))
    while (bson_iter_next(&member)) count++;
  return count;
}
