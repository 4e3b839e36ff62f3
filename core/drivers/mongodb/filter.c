/* DESIGN
 *
 * The server parses both filters, simplifies each tree from the leaves upwards and compares what is left, children in any
 * order. Here the same is done, with a text at the end. What it simplifies (measured on 6.0, and checked against it by
 * tests/spec/07-mongodb/canonical_spec.lua):
 *   - an $and in an $and, and an $or in an $or, are one; of a single child only the child is left;
 *   - $in of one value is an equality; $all is an $and of equalities; values of $in and types are sets;
 *   - equalities in an $or that are about one path become an $in, which stays one even of a single value;
 *   - whatever is said twice in an $and counts twice; nothing is concluded from bounds.
 */
#include "filter.h"

#include <stdlib.h>
#include <string.h>

#include "json.h"

enum { MOST_LEVELS = 4 }; /* the server's internalPartialFilterExpressionMaxDepth */

typedef enum node_kind { AND, OR, EQUAL, IN, OTHER } node_kind;

typedef struct node {
  node_kind kind;
  const char *path;
  const char *value;      /* EQUAL, OTHER: operator and value */
  bool pattern;           /* EQUAL: a regular expression */
  struct node **children; /* AND, OR */
  const char **values;    /* IN */
  size_t count, room;     /* of either */
} node;

typedef struct work {
  ldx_arena *arena;
  ldx_error *error; /* NULL: nothing is refused */
} work;

/* --- making nodes ----------------------------------------------------------------------------------------------------- */

static node *node_new(work *w, node_kind kind, const char *path) {
  node *n = LDX_ARENA_NEW(w->arena, node, 1);
  n->kind = kind;
  n->path = path;
  return n;
}

static void add_child(work *w, node *parent, node *child) {
  if (parent->count == parent->room) {
    node **children = LDX_ARENA_NEW(w->arena, node *, parent->room * 2 + 4);
    if (parent->count) memcpy(children, parent->children, parent->count * sizeof(node *));
    parent->children = children;
    parent->room = parent->room * 2 + 4;
  }
  parent->children[parent->count++] = child;
}

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In order, each once. */
static size_t make_set(const char **texts, size_t count) {
  size_t kept = 0;
  if (count > 1) qsort(texts, count, sizeof *texts, compare_texts);
  for (size_t i = 0; i < count; i++)
    if (!kept || strcmp(texts[kept - 1], texts[i]) != 0) texts[kept++] = texts[i];
  return kept;
}

static const char *form_of(work *w, const bson_iter_t *iter) {
  ldx_buffer b;
  ldx_buffer_init(&b, w->arena);
  ldx_mongo_form(&b, iter);
  return ldx_buffer_string(&b);
}

static node *equality(work *w, const char *path, const bson_iter_t *value) {
  node *n = node_new(w, EQUAL, path);
  n->value = form_of(w, value);
  n->pattern = BSON_ITER_HOLDS_REGEX(value);
  return n;
}

static node *other(work *w, const char *path, const char *operator, const char * value) {
  node *n = node_new(w, OTHER, path);
  n->value = ldx_arena_printf(w->arena, "%s %s", operator, value);
  return n;
}

static bool refuse(work *w, const char *what) {
  if (!w->error) return true;
  ldx_error_set(w->error, LDX_ERROR_INVALID_DEFINITION, "a partial filter cannot hold %s", what);
  ldx_error_hint(w->error,
                 "Partial filters know $eq, $gt, $gte, $lt, $lte, $in, $all, $exists: true, $type, $and, $or, "
                 "$geoWithin and $geoIntersects.");
  return false;
}

static bool refuse_type(work *w, const char *form) {
  if (!w->error) return true;
  ldx_error_set(w->error, LDX_ERROR_INVALID_DEFINITION, "a partial filter asks for the unknown $type %.100s", form);
  ldx_error_hint(w->error,
                 "$type takes numbers and names such as \"string\", \"int\", \"long\", \"double\", \"decimal\", "
                 "\"number\", \"bool\", \"date\", \"objectId\", \"object\", \"array\", \"null\".");
  return false;
}

/* --- one operator ------------------------------------------------------------------------------------------------------ */

static size_t count_of(const bson_iter_t *array) {
  bson_iter_t element;
  size_t count = 0;
  if (bson_iter_recurse(array, &element))
    while (bson_iter_next(&element)) count++;
  return count;
}

static bool one_of(const char *word, const char *const *words) {
  for (; *words; words++)
    if (!strcmp(word, *words)) return true;
  return false;
}

/* {$ref: …, $id: …}: a reference to another document, which is a value. */
static bool is_reference(bson_iter_t member) {
  return !strcmp(bson_iter_key(&member), "$ref") && bson_iter_next(&member) && !strcmp(bson_iter_key(&member), "$id");
}

/* A document of operators; anything else is a value. */
static bool has_operators(const bson_iter_t *iter) {
  bson_iter_t member;
  if (!BSON_ITER_HOLDS_DOCUMENT(iter) || !bson_iter_recurse(iter, &member) || !bson_iter_next(&member)) return false;
  return *bson_iter_key(&member) == '$' && !is_reference(member);
}

/* What nothing can be compared with; `listed`: in a list, where operators stand for no value either. */
static bool check_value(work *w, const bson_iter_t *value, bool listed) {
  if (bson_iter_type(value) == BSON_TYPE_UNDEFINED) return refuse(w, "undefined");
  return !listed || !has_operators(value) || refuse(w, "operators in a list of values");
}

static bool add_in(work *w, node *parent, const char *path, const bson_iter_t *array) {
  bson_iter_t element;
  node *n = node_new(w, IN, path);
  n->values = LDX_ARENA_NEW(w->arena, const char *, count_of(array) + 1);
  if (bson_iter_recurse(array, &element)) {
    while (bson_iter_next(&element)) {
      if (!check_value(w, &element, true)) return false;
      n->values[n->count++] = form_of(w, &element);
    }
  }
  n->count = make_set(n->values, n->count);
  if (n->count == 1) {
    n->kind = EQUAL;
    n->value = n->values[0];
  }
  add_child(w, parent, n);
  return true;
}

static bool add_all(work *w, node *parent, const char *path, const bson_iter_t *array) {
  bson_iter_t element;
  node *all = node_new(w, AND, NULL);
  if (!count_of(array)) return refuse(w, "$all of nothing");
  if (bson_iter_recurse(array, &element)) {
    while (bson_iter_next(&element)) {
      if (!check_value(w, &element, true)) return false;
      if (BSON_ITER_HOLDS_REGEX(&element) && !refuse(w, "a regular expression")) return false;
      add_child(w, all, equality(w, path, &element));
    }
  }
  add_child(w, parent, all);
  return true;
}

/* A type's number for its name; "number" is a type of its own. NULL: there is no such type. */
static const char *type_form(work *w, const bson_iter_t *iter) {
  static const struct {
    const char *name, *number;
  } types[] = {
      {"double", "1"},    {"string", "2"},     {"object", "3"},      {"array", "4"},    {"binData", "5"},
      {"undefined", "6"}, {"objectId", "7"},   {"bool", "8"},        {"date", "9"},     {"null", "10"},
      {"regex", "11"},    {"dbPointer", "12"}, {"javascript", "13"}, {"symbol", "14"},  {"javascriptWithScope", "15"},
      {"int", "16"},      {"timestamp", "17"}, {"long", "18"},       {"decimal", "19"}, {"minKey", "-1"},
      {"maxKey", "127"}};
  bool named = BSON_ITER_HOLDS_UTF8(iter), number = BSON_ITER_HOLDS_NUMBER(iter);
  const char *form = named ? bson_iter_utf8(iter, NULL) : number ? form_of(w, iter) : "";
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(named ? types[i].name : types[i].number, form)) return types[i].number;
  return named && !strcmp(form, "number") ? "number" : NULL;
}

static bool add_type(work *w, node *parent, const char *path, const bson_iter_t *iter) {
  bson_iter_t element = *iter;
  bool array = BSON_ITER_HOLDS_ARRAY(iter), more = true;
  size_t count = 0;
  const char **texts = LDX_ARENA_NEW(w->arena, const char *, array ? count_of(iter) + 1 : 1);
  if (array) more = bson_iter_recurse(iter, &element) && bson_iter_next(&element);
  if (!more && !refuse(w, "a $type of nothing")) return false;
  for (; more; more = array && bson_iter_next(&element)) {
    const char *form = type_form(w, &element);
    if (!form && !refuse_type(w, form_of(w, &element))) return false;
    if (form) texts[count++] = form;
  }
  count = make_set(texts, count);
  ldx_buffer b;
  ldx_buffer_init(&b, w->arena);
  for (size_t i = 0; i < count; i++) ldx_buffer_appendf(&b, "%s,", texts[i]);
  add_child(w, parent, other(w, path, "$type", ldx_buffer_string(&b)));
  return true;
}

/* The shapes that each knows; no other operator may stand beside. */
static bool check_place(work *w, const char *name, const bson_iter_t *iter, bool alone) {
  static const char *const within[] = {"$geometry", "$box", "$polygon", "$center", "$centerSphere", NULL};
  static const char *const crossing[] = {"$geometry", NULL};
  bson_iter_t shape;
  bool known = BSON_ITER_HOLDS_DOCUMENT(iter) && bson_iter_recurse(iter, &shape) && bson_iter_next(&shape) &&
               one_of(bson_iter_key(&shape), !strcmp(name, "$geoIntersects") ? crossing : within);
  if (!known) return refuse(w, ldx_arena_printf(w->arena, "%s without a known shape", name));
  return alone || refuse(w, ldx_arena_printf(w->arena, "%s beside other operators", name));
}

/* `alone`: no other one is about that path. */
static bool add_operator(work *w, node *parent, const char *path, const bson_iter_t *iter, bool alone) {
  static const char *const bounds[] = {"$gt", "$gte", "$lt", "$lte", NULL};
  static const char *const places[] = {"$geoWithin", "$geoIntersects", "$within", NULL};
  const char *name = bson_iter_key(iter);
  bool array = BSON_ITER_HOLDS_ARRAY(iter);
  if (!strcmp(name, "$in") && array) return add_in(w, parent, path, iter);
  if (!strcmp(name, "$all") && array) return add_all(w, parent, path, iter);
  if ((!strcmp(name, "$in") || !strcmp(name, "$all")) && w->error)
    return refuse(w, "$in or $all of anything but a list");
  if (!strcmp(name, "$type")) return add_type(w, parent, path, iter);
  if (!strcmp(name, "$eq")) {
    if (!check_value(w, iter, false)) return false;
    add_child(w, parent, equality(w, path, iter));
  } else if (!strcmp(name, "$exists")) {
    /* What is no number and no boolean is true to the server, but for null and undefined. */
    bool number = BSON_ITER_HOLDS_NUMBER(iter) || BSON_ITER_HOLDS_BOOL(iter);
    bool nothing = BSON_ITER_HOLDS_NULL(iter) || bson_iter_type(iter) == BSON_TYPE_UNDEFINED;
    bool off = number ? !bson_iter_as_bool(iter) : nothing;
    if (off && !refuse(w, "$exists: false")) return false;
    add_child(w, parent, other(w, path, name, ""));
  } else {
    bool bound = one_of(name, bounds), place = one_of(name, places);
    if (bound && !check_value(w, iter, false)) return false;
    if (bound && BSON_ITER_HOLDS_REGEX(iter) && !refuse(w, "a regular expression")) return false;
    if (place && !check_place(w, name, iter, alone)) return false;
    if (!bound && !place && !refuse(w, name)) return false;
    add_child(w, parent, other(w, path, name, form_of(w, iter)));
  }
  return true;
}

/* --- the tree ----------------------------------------------------------------------------------------------------------- */

static bool add_document(work *w, node *parent, bson_iter_t *iter);

/* A document of a single condition is that condition. */
static node *unwrap(node *document) {
  return document->count == 1 ? document->children[0] : document;
}

static bool add_list(work *w, node *parent, node_kind kind, const bson_iter_t *iter) {
  bson_iter_t element, member;
  node *list = node_new(w, kind, NULL);
  if (BSON_ITER_HOLDS_ARRAY(iter) && bson_iter_recurse(iter, &element)) {
    while (bson_iter_next(&element)) {
      node *child = node_new(w, AND, NULL);
      if (!BSON_ITER_HOLDS_DOCUMENT(&element) || !bson_iter_recurse(&element, &member))
        return refuse(w, "an $and or $or of anything but objects");
      if (!add_document(w, child, &member)) return false;
      add_child(w, list, unwrap(child));
    }
  }
  if (!list->count) return refuse(w, "an $and or $or of nothing");
  add_child(w, parent, list);
  return true;
}

static bool add_document(work *w, node *parent, bson_iter_t *iter) {
  while (bson_iter_next(iter)) {
    const char *name = ldx_arena_strdup(w->arena, bson_iter_key(iter));
    if (!strcmp(name, "$and") || !strcmp(name, "$or")) {
      if (!add_list(w, parent, name[1] == 'a' ? AND : OR, iter)) return false;
    } else if (*name == '$') {
      if (!strcmp(name, "$comment")) continue;
      if (!refuse(w, name)) return false;
      add_child(w, parent, other(w, "", name, form_of(w, iter)));
    } else if (has_operators(iter)) {
      bson_iter_t operators;
      bson_iter_recurse(iter, &operators);
      while (bson_iter_next(&operators))
        if (!add_operator(w, parent, name, &operators, count_of(iter) == 1)) return false;
    } else {
      if (BSON_ITER_HOLDS_REGEX(iter) && !refuse(w, "a regular expression")) return false;
      if (!check_value(w, iter, false)) return false;
      add_child(w, parent, equality(w, name, iter));
    }
  }
  return true;
}

/* Equalities of an $or that are about the same path, together. */
static void gather(work *w, node *list) {
  for (size_t i = 0; i < list->count; i++) {
    node *first = list->children[i];
    if (first->kind != EQUAL || first->pattern) continue;
    const char **values = LDX_ARENA_NEW(w->arena, const char *, list->count);
    size_t count = 0, kept = i + 1;
    values[count++] = first->value;
    for (size_t j = i + 1; j < list->count; j++) {
      node *next = list->children[j];
      if (next->kind == EQUAL && !next->pattern && !strcmp(next->path, first->path))
        values[count++] = next->value;
      else
        list->children[kept++] = next;
    }
    list->count = kept;
    if (count == 1) continue;
    node *set = node_new(w, IN, first->path);
    set->values = values;
    set->count = make_set(values, count);
    list->children[i] = set;
  }
}

static node *simplify(work *w, node *n) {
  if (n->kind != AND && n->kind != OR) return n;
  node *list = node_new(w, n->kind, NULL);
  for (size_t i = 0; i < n->count; i++) {
    node *child = simplify(w, n->children[i]);
    if (child->kind == n->kind)
      for (size_t j = 0; j < child->count; j++) add_child(w, list, child->children[j]);
    else
      add_child(w, list, child);
  }
  if (list->kind == OR && list->count > 1) gather(w, list);
  return list->count == 1 ? list->children[0] : list;
}

static const char *text_of(work *w, const node *n) {
  ldx_buffer b;
  ldx_buffer_init(&b, w->arena);
  if (n->path) ldx_mongo_quote(&b, n->path, strlen(n->path));
  if (n->kind == EQUAL) {
    ldx_buffer_appendf(&b, " = %s", n->value);
  } else if (n->kind == OTHER) {
    ldx_buffer_appendf(&b, " %s", n->value);
  } else {
    const char **texts = n->values, *between = n->kind == IN ? ", " : n->kind == AND ? " and " : " or ";
    if (n->kind != IN) {
      texts = LDX_ARENA_NEW(w->arena, const char *, n->count + 1);
      for (size_t i = 0; i < n->count; i++) texts[i] = text_of(w, n->children[i]);
      if (n->count > 1) qsort(texts, n->count, sizeof *texts, compare_texts);
    }
    ldx_buffer_append(&b, n->kind == IN ? " in (" : "(");
    for (size_t i = 0; i < n->count; i++) ldx_buffer_appendf(&b, "%s%s", i ? between : "", texts[i]);
    ldx_buffer_append_char(&b, ')');
  }
  return ldx_buffer_string(&b);
}

static bool check_depth(work *w, const node *n, int level) {
  if (level > MOST_LEVELS) {
    ldx_error_set(w->error, LDX_ERROR_INVALID_DEFINITION, "a partial filter is nested %d deep at most", MOST_LEVELS);
    ldx_error_hint(w->error, "An $and in an $and, or an $or in an $or, can be written as one.");
    return false;
  }
  for (size_t i = 0; (n->kind == AND || n->kind == OR) && i < n->count; i++)
    if (!check_depth(w, n->children[i], level + 1)) return false;
  return true;
}

const char *ldx_mongo_filter_form(ldx_arena *arena, const bson_t *filter, ldx_error *error) {
  work w = {arena, error};
  bson_iter_t iter;
  node *root = node_new(&w, AND, NULL);
  if (!bson_iter_init(&iter, filter) || !add_document(&w, root, &iter)) return NULL;
  if (error && !check_depth(&w, unwrap(root), 1)) return NULL;
  return text_of(&w, simplify(&w, root));
}
