/* DESIGN
 *
 * The copy has the relation's own name, in the session's temporary schema, so that a text which qualifies its columns
 * (`orders.status = 'due'`) still means them. Indexes are named after their place in the batch.
 *
 * A batch is tried as one text; only when the server refuses something in it is it taken apart, relation by relation and
 * definition by definition, to learn what. Batches are bounded since every index of a transaction holds a lock.
 */
#include "shadow.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "catalog.h"
#include "patience.h"
#include "postgres_sql.h"
#include "read.h"
#include "render.h"
#include "text.h"

enum { BATCH = 200, DEFAULT_COLLATION = 100 };

static const char temporary[] = "\"pg_temp\".";
static const char name_prefix[] = "lunadex_shadow_";

/* LIKE takes no lock that writers would notice, but must not queue behind somebody's exclusive one for ever. A copy is a
 * type as well, and would come before the server's own: of a table called "date", or "text". */
static const char begin[] =
    "begin read write; " LDX_PG_READ_SLICE "set local jit = off; set local client_min_messages = error;\n"
    "select pg_catalog.set_config('search_path', pg_catalog.concat_ws(', ', "
    "nullif(pg_catalog.current_setting('search_path'), ''), 'pg_temp'), true);\n";

typedef struct work {
  ldx_session *session;
  ldx_arena *arena;
  ldx_declared **items; /* of this batch, those of one relation side by side */
  size_t count;
} work;

/* --- statements --------------------------------------------------------------------------------------------------- */

static char *shadow_name(ldx_arena *arena, const ldx_relation *relation) {
  return ldx_arena_printf(arena, "%s%s", temporary, ldx_pg_quote_identifier(arena, relation->name.name));
}

/* What the server refuses of virtual generated columns (from version 18) it has to be shown. */
static void append_copy(const work *w, ldx_buffer *out, ldx_arena *arena, const ldx_relation *relation) {
  const char *more = ldx_pg_version(w->session) >= 180000 ? " including generated" : "";
  ldx_buffer_appendf(out, "create temporary table %s (like %s%s);\n", shadow_name(arena, relation),
                     ldx_pg_quote_name(arena, relation->name), more);
}

/* A function of the relation's rows does not take those of the copy until they can become such: the server then prints a
 * cast, which `without_casts` takes away again. Anything SET keeps the function from being replaced by its body, the
 * constant that others' functions would be called with. */
static void append_cast(ldx_buffer *out, ldx_arena *arena, const ldx_relation *relation) {
  char *from = shadow_name(arena, relation), *to = ldx_pg_quote_name(arena, relation->name);
  ldx_buffer_appendf(out,
                     "create function \"pg_temp\".lunadex_row(%s) returns %s language sql immutable\n"
                     "  set search_path to '' as $lunadex_row$select null::%s$lunadex_row$;\n"
                     "create cast (%s as %s) with function \"pg_temp\".lunadex_row(%s) as implicit;\n",
                     from, to, to, from, to, from);
}

static void append_definition(ldx_buffer *out, ldx_arena *arena, const ldx_declared *declared, size_t place) {
  ldx_definition definition = *declared->definition;
  definition.relation = declared->relation->name;
  definition.tablespace = NULL;
  char *shadow = shadow_name(arena, declared->relation);
  char *name = ldx_arena_printf(arena, "%s%zu", name_prefix, place);
  if (definition.kind != LDX_KIND_INDEX)
    ldx_buffer_appendf(out, "alter table %s add constraint \"%s\" %s;\n", shadow, name,
                       ldx_pg_constraint_sql(arena, &definition));
  else
    ldx_buffer_appendf(out, "%s;\n", ldx_pg_build_sql_on(arena, &definition, name, shadow));
}

/* --- reading back ------------------------------------------------------------------------------------------------- */

static void ignore(void *state, char **fields) {
  (void)state;
  (void)fields;
}

static void read_shadow(void *state, char **fields) {
  ldx_pg_reader_relation(state, (ldx_name){NULL, fields[1]}, ldx_pg_number(fields[0]), ldx_pg_number(fields[2]));
}

static void read_shadow_column(void *state, char **fields) {
  ldx_pg_reader *reader = state;
  if (fields[5]) {
    ldx_pg_reader_opclass_options(reader, ldx_pg_number(fields[0]), ldx_pg_number(fields[1]), fields[5]);
    return;
  }
  ldx_relation *relation = ldx_catalog_relation_by_id(ldx_pg_reader_catalog(reader), ldx_pg_number(fields[0]));
  ldx_column *column = relation ? ldx_pg_reader_column(reader, relation, ldx_pg_number(fields[1]), fields[2]) : NULL;
  if (!column) return;
  column->type = ldx_pg_number(fields[3]);
  column->collation = ldx_pg_number(fields[4]);
  if (column->collation != 0 && column->collation != DEFAULT_COLLATION) relation->odd_collation = true;
}

/* `text` without the casts from a row of the copy to one of the relation, `(orders.*)::public.orders`. */
static const char *without_casts(ldx_arena *arena, const char *text, ldx_name relation) {
  static const char row[] = ".*)::";
  if (!text || !strstr(text, row)) return text;
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  for (const char *p = text, *end; *p; p = end) {
    end = ldx_pg_token_end(p);
    if (*p == '(') {
      const char *copy_end = ldx_pg_token_end(end), *type = copy_end + sizeof row - 1;
      if (strncmp(copy_end, row, sizeof row - 1) == 0) {
        const char *dot = ldx_pg_token_end(type), *type_end = *dot == '.' ? ldx_pg_token_end(dot + 1) : dot;
        ldx_name name;
        if (ldx_pg_split_name(arena, ldx_arena_strndup(arena, type, (size_t)(type_end - type)), &name) && name.schema &&
            strcmp(name.schema, relation.schema) == 0 && strcmp(name.name, relation.name) == 0) {
          ldx_buffer_appendf(&out, "%.*s.*", (int)(copy_end - end), end);
          end = type_end;
          continue;
        }
      }
    }
    ldx_buffer_appendf(&out, "%.*s", (int)(end - p), p);
  }
  return ldx_buffer_string(&out);
}

static void spell_rows_as_real(ldx_arena *arena, ldx_definition *definition) {
  for (size_t i = 0; i < definition->key_count; i++)
    definition->keys[i].expression = without_casts(arena, definition->keys[i].expression, definition->relation);
  definition->predicate = without_casts(arena, definition->predicate, definition->relation);
  definition->predicate_form = without_casts(arena, definition->predicate_form, definition->relation);
}

static void take(work *w, const ldx_live *live) {
  if (strncmp(live->name, name_prefix, sizeof name_prefix - 1) != 0) return;
  size_t place = strtoul(live->name + sizeof name_prefix - 1, NULL, 10);
  if (place >= w->count) return;
  ldx_declared *declared = w->items[place];
  /* Of a key, the text says all there is to say; it was only to be seen whether it can be made. */
  if (declared->canonical->kind == LDX_KIND_UNIQUE || declared->canonical->kind == LDX_KIND_PRIMARY_KEY) return;
  ldx_definition *canonical = LDX_ARENA_NEW(w->arena, ldx_definition, 1);
  ldx_definition_copy(w->arena, canonical, live->definition);
  /* What the shadow has not: */
  canonical->relation = declared->canonical->relation;
  canonical->tablespace = declared->canonical->tablespace;
  spell_rows_as_real(w->arena, canonical);
  declared->canonical = canonical;
  declared->fingerprint = ldx_definition_fingerprint(declared->canonical);
}

/* Within the transaction that made the shadows. */
static bool read_back(work *w, ldx_error *error) {
  static const char of_shadows[] = " where c.relnamespace = pg_catalog.pg_my_temp_schema()";
  static const char on_shadows[] = " and con.connamespace = pg_catalog.pg_my_temp_schema()";
  ldx_catalog *catalog = ldx_catalog_new(&ldx_pg_dialect);
  ldx_pg_reader *reader = ldx_pg_reader_new(catalog, ldx_pg_version(w->session));
  ldx_pg_copy queries[LDX_PG_DICTIONARY_QUERIES + 5];
  ldx_pg_dictionary_queries(ldx_pg_reader_dictionary(reader), queries);
  ldx_pg_copy *own = queries + LDX_PG_DICTIONARY_QUERIES;
  own[0] = (ldx_pg_copy){
      .sql = "select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)", .columns = 1, .read = ignore};
  own[1] = (ldx_pg_copy){.sql = ldx_sql_shadows, .columns = 3, .read = read_shadow, .state = reader};
  own[2] = (ldx_pg_copy){.sql = ldx_sql_shadow_columns, .columns = 6, .read = read_shadow_column, .state = reader};
  own[3] = (ldx_pg_copy){.sql = ldx_pg_reader_index_sql(reader),
                         .filter = of_shadows,
                         .columns = LDX_PG_INDEX_COLUMNS,
                         .read = ldx_pg_read_index,
                         .state = reader};
  own[4] = (ldx_pg_copy){.sql = ldx_sql_constraints,
                         .filter = on_shadows,
                         .columns = LDX_PG_CONSTRAINT_COLUMNS,
                         .read = ldx_pg_read_constraint,
                         .state = reader};
  bool ok = ldx_pg_copy_all(w->session, "", queries, LDX_PG_DICTIONARY_QUERIES + 5, "", error);
  if (ok) {
    for (size_t i = 0; i < ldx_catalog_live_count(catalog); i++) take(w, ldx_catalog_live_at(catalog, i));
  }
  ldx_catalog_release(catalog);
  return ok;
}

/* --- what the server refuses -------------------------------------------------------------------------------------- */

static bool is_link(const ldx_error *error) {
  return ldx_error_retry(error->code) != LDX_RETRY_NEVER || error->code == LDX_ERROR_CANCELLED;
}

static bool in_word(char c) {
  return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

/* As a word of its own. */
static bool mentions(const char *text, const char *name) {
  size_t length = strlen(name);
  for (const char *p = text; p && (p = strstr(p, name)); p++)
    if ((p == text || !in_word(p[-1])) && !in_word(p[length])) return true;
  return false;
}

/* A function that takes a row of the relation does not take a row of its copy. */
static bool needs_rows_of_the_relation(const ldx_declared *declared, const ldx_error *error) {
  static const char *const types[] = {"42883", "42804", "42846", "42P17", "42P18"};
  bool type_error = false;
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    type_error = type_error || strcmp(error->native, types[i]) == 0;
  const ldx_definition *definition = declared->definition;
  const char *name = declared->relation->name.name;
  bool mentioned = mentions(definition->predicate, name);
  for (size_t i = 0; i < definition->key_count; i++)
    mentioned = mentioned || mentions(definition->keys[i].expression, name);
  return type_error && mentioned;
}

static void set_error(work *w, ldx_declared *declared, const ldx_error *error) {
  declared->error = LDX_ARENA_NEW(w->arena, ldx_error, 1);
  *declared->error = *error;
}

/* No function of a declaration is called by a copy that holds nothing, nor by the plainest index on it. */
static void refuse_copy(work *w, ldx_declared *declared, const ldx_error *error) {
  set_error(w, declared, error);
  if (!*error->context) return;
  ldx_error_set(declared->error, error->code,
                "cannot be compared, since an event trigger refuses the temporary copy "
                "that it takes: %s",
                error->message);
  memcpy(declared->error->native, error->native, sizeof error->native);
  ldx_error_hint(declared->error, "Let it pass what is made in pg_temp, or write expressions and predicates exactly as "
                                  "pg_get_expr prints them.");
}

/* A function that fails itself may do so because of who calls it, which is the owner in a real build. Then the text has
 * to do, as with rows that no cast helped; should it be wrong, the build will say so. */
static void refuse(work *w, ldx_declared *declared, const ldx_error *error) {
  if (*error->context || needs_rows_of_the_relation(declared, error)) return;
  set_error(w, declared, error);
}

/* --- batches ------------------------------------------------------------------------------------------------------ */

/* All of the batch as one text. */
static bool try_together(work *w, ldx_error *error) {
  ldx_buffer text;
  ldx_buffer_init(&text, NULL);
  ldx_arena *scratch = ldx_arena_new();
  ldx_buffer_append(&text, begin);
  for (size_t i = 0; i < w->count; i++) {
    if (i == 0 || w->items[i]->relation != w->items[i - 1]->relation)
      append_copy(w, &text, scratch, w->items[i]->relation);
    append_definition(&text, scratch, w->items[i], i);
  }
  bool ok = ldx_pg_do(w->session, ldx_buffer_string(&text), error) && read_back(w, error);
  ldx_pg_rollback(w->session);
  ldx_arena_free(scratch);
  ldx_buffer_free(&text);
  return ok;
}

/* The one at `place`, behind a savepoint: as it is, and then with a cast if that may help. False only if the server cannot
 * be asked any more. */
static bool try_definition(work *w, ldx_arena *scratch, size_t place, ldx_error *error) {
  ldx_declared *declared = w->items[place];
  ldx_error first;
  for (bool cast = false;; cast = true) {
    ldx_buffer text;
    ldx_buffer_init(&text, scratch);
    ldx_buffer_append(&text, "savepoint definition;\n");
    if (cast) append_cast(&text, scratch, declared->relation);
    append_definition(&text, scratch, declared, place);
    ldx_error refusal;
    if (ldx_pg_do(w->session, ldx_buffer_string(&text), &refusal)) return true;
    if (is_link(&refusal) || !ldx_pg_do(w->session, "rollback to savepoint definition", error)) {
      *error = refusal;
      return false;
    }
    if (!cast) first = refusal;
    if (cast || !needs_rows_of_the_relation(declared, &refusal)) break;
  }
  if (*first.context) {
    char *plainest = ldx_arena_printf(scratch, "create index on %s ((0))", shadow_name(scratch, declared->relation));
    ldx_error refusal;
    ldx_error_clear(&refusal);
    bool refused = !ldx_pg_do(w->session, plainest, &refusal);
    if (refused && is_link(&refusal)) {
      *error = refusal;
      return false;
    }
    if (!ldx_pg_do(w->session, "rollback to savepoint definition", error)) return false;
    if (refused) {
      refuse_copy(w, declared, &refusal);
      return true;
    }
  }
  refuse(w, declared, &first);
  return true;
}

/* One after another, each behind a savepoint. False only if the server cannot be asked any more. */
static bool try_apart(work *w, ldx_error *error) {
  ldx_arena *scratch = ldx_arena_new();
  bool ok = ldx_pg_do(w->session, begin, error);
  bool copied = false;
  for (size_t i = 0; ok && i < w->count; i++) {
    ldx_buffer text;
    ldx_buffer_init(&text, scratch);
    if (i == 0 || w->items[i]->relation != w->items[i - 1]->relation) {
      ldx_error refusal;
      ldx_buffer_append(&text, "savepoint copy;\n");
      append_copy(w, &text, scratch, w->items[i]->relation);
      copied = ldx_pg_do(w->session, ldx_buffer_string(&text), &refusal);
      if (!copied) {
        if (is_link(&refusal) || !ldx_pg_do(w->session, "rollback to savepoint copy", error)) {
          *error = refusal;
          ok = false;
          break;
        }
        for (size_t j = i; j < w->count && w->items[j]->relation == w->items[i]->relation; j++)
          refuse_copy(w, w->items[j], &refusal);
      }
      ldx_buffer_clear(&text);
    }
    if (!copied) continue;
    ok = try_definition(w, scratch, i, error);
  }
  ok = ok && read_back(w, error);
  ldx_pg_rollback(w->session);
  ldx_arena_free(scratch);
  return ok;
}

/* Whether another relation of the batch already has this name: the copies would clash. */
static bool name_taken(ldx_declared **items, size_t count, const ldx_relation *relation) {
  for (size_t i = 0; i < count; i++)
    if (items[i]->relation != relation && strcmp(items[i]->relation->name.name, relation->name.name) == 0) return true;
  return false;
}

static int compare_relations(const void *a, const void *b) {
  const ldx_declared *x = *(ldx_declared *const *)a, *y = *(ldx_declared *const *)b;
  if (x->relation->ordinal != y->relation->ordinal) return x->relation->ordinal < y->relation->ordinal ? -1 : 1;
  return (x > y) - (x < y);
}

bool ldx_pg_may_create_temporary(ldx_session *session, ldx_error *error) {
  PGresult *result = ldx_pg_exec(
      session, "select pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY')", error);
  if (!result) return false;
  bool may = *PQgetvalue(result, 0, 0) == 't';
  PQclear(result);
  if (!may) {
    ldx_error_set(error, LDX_ERROR_PERMISSION, "the role %s may not create temporary tables in database %s",
                  ldx_pg_info(session)->user, ldx_pg_info(session)->database);
    ldx_error_hint(error, "Expressions and predicates are compared on an empty temporary copy: GRANT TEMPORARY ON "
                          "DATABASE to this role, or write them exactly as pg_get_expr prints them.");
  }
  return may;
}

/* False only if the server cannot be asked; then none of the batch has an error. */
static bool try_batch(work *w, ldx_error *error) {
  if (try_together(w, error)) return true;
  if (!is_link(error) && try_apart(w, error)) return true;
  for (size_t i = 0; i < w->count; i++) w->items[i]->error = NULL;
  return false;
}

/* Their oids, as an array's text. */
static char *relations_of(const work *w) {
  ldx_buffer out;
  ldx_buffer_init(&out, w->arena);
  for (size_t i = 0; i < w->count; i++) ldx_buffer_appendf(&out, "%s%u", i ? "," : "{", w->items[i]->relation->id);
  ldx_buffer_append(&out, "}");
  return ldx_buffer_string(&out);
}

bool ldx_pg_shadow_all(ldx_session *session, ldx_arena *arena, ldx_declared **items, size_t count, ldx_context *context,
                       ldx_error *error) {
  qsort(items, count, sizeof *items, compare_relations);
  for (size_t from = 0; from < count;) {
    work w = {.session = session, .arena = arena, .items = items + from};
    while (from + w.count < count && w.count < BATCH && !name_taken(w.items, w.count, items[from + w.count]->relation))
      w.count++;
    ldx_pg_patience patience = ldx_pg_patience_new(session, context);
    while (!try_batch(&w, error))
      if (!ldx_pg_patience_left(&patience, relations_of(&w), error)) return false;
    from += w.count;
  }
  return true;
}
