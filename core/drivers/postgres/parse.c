/* DESIGN. The parse tree says what a statement means but not where an expression's text ends: it has start locations of
 * some nodes only, and printing the tree back would change the user's spelling. The tokens say where everything begins
 * and ends but not what it means. So names, options and kinds are taken from the tree, and the texts of key expressions
 * and predicates are cut from the source along tokens: the list of keys is what the first opening parenthesis of the
 * statement encloses, split at its commas; the predicate is what follows WHERE behind it.
 */
#include "drivers/postgres/parse.h"

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "drivers/postgres/render.h"

typedef struct sql_token {
  size_t start, end;
  PgQuery__Token kind;
} sql_token;

typedef struct token_list {
  size_t count;
  sql_token *items; /* without comments */
} token_list;

typedef struct token_range {
  size_t from, to; /* tokens, `to` excluded */
} token_range;

typedef struct parse_state {
  ldx_arena *arena;
  const char *sql;
  token_list tokens;
  token_range keys; /* what the parentheses of the list of keys enclose */
  ldx_definition *definition;
  const char **name;
  ldx_error *error;
} parse_state;

/* protobuf has no null: what is not given is empty. */
static bool given(const char *text) {
  return text && *text;
}

static bool refuse(ldx_error *error, const char *message) {
  return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s", message);
}

/* --- tokens --------------------------------------------------------------------------------------------------------- */

/* `cursor` counts characters from 1, and `skipped` of them are ours. */
static void syntax_error(const char *text, const PgQueryError *from, int skipped, ldx_error *error) {
  const char *message = from->message && *from->message ? from->message : "syntax error";
  int left = from->cursorpos - skipped - 1;
  if (left < 0) {
    ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s", message);
    return;
  }
  int line = 1, column = 1;
  for (const char *p = text; *p && left > 0; left--) {
    if (*p == '\n') {
      line++;
      column = 1;
    } else {
      column++;
    }
    p++;
    while (((unsigned char)*p & 0xC0) == 0x80) p++;
  }
  ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s (line %d, column %d of the text)", message, line, column);
}

static int characters(const char *text) {
  int count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
  return count;
}

/* The scanner gives U&'…' and U&"…" no length. */
static size_t token_end(const char *sql, const PgQuery__ScanToken *token) {
  if (token->end > token->start) return (size_t)token->end;
  const char *p = sql + token->start;
  if (*p && p[1] == '&' && p[2]) {
    const char quote = p[2];
    for (p += 3; *p && (*p != quote || p[1] == quote); p++)
      if (*p == quote) p++;
    if (*p) p++;
  }
  return (size_t)(p - sql);
}

static bool scan(ldx_arena *arena, const char *sql, token_list *out, ldx_error *error) {
  PgQueryScanResult result = pg_query_scan(sql);
  PgQuery__ScanResult *unpacked = NULL;
  bool ok = false;
  if (result.error) {
    syntax_error(sql, result.error, 0, error);
    goto out;
  }
  unpacked = pg_query__scan_result__unpack(NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
  if (!unpacked) {
    ldx_error_set(error, LDX_ERROR_INTERNAL, "the scanner's result cannot be read");
    goto out;
  }
  out->count = 0;
  out->items = LDX_ARENA_NEW(arena, sql_token, unpacked->n_tokens + 1);
  for (size_t i = 0; i < unpacked->n_tokens; i++) {
    const PgQuery__ScanToken *from = unpacked->tokens[i];
    if (from->token == PG_QUERY__TOKEN__SQL_COMMENT || from->token == PG_QUERY__TOKEN__C_COMMENT) continue;
    out->items[out->count++] = (sql_token){(size_t)from->start, token_end(sql, from), from->token};
  }
  ok = true;
out:
  if (unpacked) pg_query__scan_result__free_unpacked(unpacked, NULL);
  pg_query_free_scan_result(result);
  return ok;
}

static bool opens(const sql_token *token) {
  return token->kind == PG_QUERY__TOKEN__ASCII_40 || token->kind == PG_QUERY__TOKEN__ASCII_91;
}

static bool closes(const sql_token *token) {
  return token->kind == PG_QUERY__TOKEN__ASCII_41 || token->kind == PG_QUERY__TOKEN__ASCII_93;
}

/* The token that closes what token `at` opens, or `end`. */
static size_t matching(const token_list *tokens, size_t at, size_t end) {
  size_t depth = 0;
  for (size_t i = at; i < end; i++) {
    if (opens(&tokens->items[i])) depth++;
    if (closes(&tokens->items[i]) && --depth == 0) return i;
  }
  return end;
}

/* Without the parentheses that enclose all of it, and without comments around it. */
static token_range bare(const token_list *tokens, token_range range) {
  while (range.to - range.from > 2 && tokens->items[range.from].kind == PG_QUERY__TOKEN__ASCII_40 &&
         matching(tokens, range.from, range.to) == range.to - 1)
    range = (token_range){range.from + 1, range.to - 1};
  return range;
}

static const char *text_of(ldx_arena *arena, const char *sql, const token_list *tokens, token_range range) {
  size_t start = tokens->items[range.from].start;
  return ldx_arena_strndup(arena, sql + start, tokens->items[range.to - 1].end - start);
}

static const char *cut(const parse_state *parser, token_range range) {
  if (range.from >= range.to) return NULL;
  return text_of(parser->arena, parser->sql, &parser->tokens, bare(&parser->tokens, range));
}

/* The first opening parenthesis of the statement begins the list of keys: nothing that may stand before it, in the
 * statements this is asked about, has one. */
static void find_keys(parse_state *parser) {
  const token_list *all = &parser->tokens;
  size_t open = 0;
  while (open < all->count && all->items[open].kind != PG_QUERY__TOKEN__ASCII_40) open++;
  size_t close = matching(all, open, all->count);
  parser->keys = (token_range){open + 1, close};
}

/* The tokens of key `wanted`. */
static token_range key_range(const parse_state *parser, size_t wanted) {
  const sql_token *items = parser->tokens.items;
  size_t depth = 0, from = parser->keys.from;
  for (size_t i = parser->keys.from; i < parser->keys.to; i++) {
    if (opens(&items[i])) depth++;
    if (closes(&items[i])) depth--;
    if (depth == 0 && items[i].kind == PG_QUERY__TOKEN__ASCII_44) {
      if (wanted-- == 0) return (token_range){from, i};
      from = i + 1;
    }
  }
  return (token_range){from, parser->keys.to};
}

/* A key's expression is either in parentheses, or a call: a name and what the next parentheses enclose. The few calls
 * without parentheses (CURRENT_DATE) are one token. */
static const char *key_expression(const parse_state *parser, size_t key) {
  token_range range = key_range(parser, key);
  size_t open = range.from;
  while (open < range.to && parser->tokens.items[open].kind != PG_QUERY__TOKEN__ASCII_40) open++;
  if (open == range.to) {
    range.to = range.from + 1;
  } else {
    range.to = matching(&parser->tokens, open, range.to) + 1;
  }
  return cut(parser, range);
}

static const char *predicate(const parse_state *parser) {
  const token_list *all = &parser->tokens;
  size_t depth = 0;
  for (size_t i = parser->keys.to + 1; i < all->count; i++) {
    if (opens(&all->items[i])) depth++;
    if (closes(&all->items[i])) depth--;
    if (depth > 0 || all->items[i].kind != PG_QUERY__TOKEN__WHERE) continue;
    token_range range = {i + 1, all->count};
    if (parser->definition->kind == LDX_KIND_EXCLUSION) {
      range.to = matching(all, i + 1, all->count) + 1; /* in parentheses, and more may follow */
    } else {
      while (range.to > range.from && all->items[range.to - 1].kind == PG_QUERY__TOKEN__ASCII_59) range.to--;
    }
    return cut(parser, range);
  }
  return NULL;
}

/* --- parts of the tree ---------------------------------------------------------------------------------------------- */

static const char *string_of(const PgQuery__Node *node) {
  return node->node_case == PG_QUERY__NODE__NODE_STRING ? node->string->sval : "";
}

static void copy_strings(const parse_state *parser, size_t count, PgQuery__Node *const *nodes, ldx_strings *out) {
  out->count = count;
  out->items = LDX_ARENA_NEW(parser->arena, const char *, count + 1);
  for (size_t i = 0; i < count; i++) out->items[i] = ldx_arena_strdup(parser->arena, string_of(nodes[i]));
}

/* A possibly qualified name in the registry's notation; NULL for none. */
static const char *qualified(const parse_state *parser, size_t count, PgQuery__Node *const *nodes) {
  if (count == 0) return NULL;
  ldx_name name = {.schema = count > 1 ? string_of(nodes[count - 2]) : NULL, .name = string_of(nodes[count - 1])};
  return ldx_pg_display_name(parser->arena, name);
}

static bool relation(const parse_state *parser, const PgQuery__RangeVar *from, ldx_name *out) {
  if (!from || !given(from->relname)) return refuse(parser->error, "the statement names no relation");
  if (given(from->catalogname))
    return ldx_error_set(parser->error, LDX_ERROR_INVALID_DEFINITION, "a database (\"%s\") before the schema's name",
                         from->catalogname);
  out->schema = given(from->schemaname) ? ldx_arena_strdup(parser->arena, from->schemaname) : NULL;
  out->name = ldx_arena_strdup(parser->arena, from->relname);
  return true;
}

/* The value of a storage parameter as the server would keep it: `off`, `70`, `auto`. */
static const char *option_value(const parse_state *parser, const PgQuery__Node *node) {
  if (!node) return "true";
  switch (node->node_case) {
  case PG_QUERY__NODE__NODE_INTEGER:
    return ldx_arena_printf(parser->arena, "%d", node->integer->ival);
  case PG_QUERY__NODE__NODE_FLOAT:
    return ldx_arena_strdup(parser->arena, node->float_->fval);
  case PG_QUERY__NODE__NODE_BOOLEAN:
    return node->boolean->boolval ? "true" : "false";
  case PG_QUERY__NODE__NODE_STRING:
    return ldx_arena_strdup(parser->arena, node->string->sval);
  case PG_QUERY__NODE__NODE_TYPE_NAME: /* what a bare word is read as */
    if (node->type_name->n_names > 0)
      return ldx_arena_strdup(parser->arena, string_of(node->type_name->names[node->type_name->n_names - 1]));
    return "";
  default:
    return "";
  }
}

static bool options(const parse_state *parser, size_t count, PgQuery__Node *const *nodes, ldx_options *out) {
  out->count = count;
  out->items = LDX_ARENA_NEW(parser->arena, ldx_option, count + 1);
  for (size_t i = 0; i < count; i++) {
    const PgQuery__DefElem *from = nodes[i]->def_elem;
    if (nodes[i]->node_case != PG_QUERY__NODE__NODE_DEF_ELEM || given(from->defnamespace))
      return refuse(parser->error, "a storage parameter with a namespace");
    out->items[i].name = ldx_arena_strdup(parser->arena, from->defname);
    out->items[i].value = option_value(parser, from->arg);
  }
  return true;
}

/* A column in parentheses is still a column, for the server as well. */
static const char *plain_column(const PgQuery__Node *node) {
  if (!node || node->node_case != PG_QUERY__NODE__NODE_COLUMN_REF || node->column_ref->n_fields != 1) return NULL;
  const char *name = string_of(node->column_ref->fields[0]);
  return given(name) ? name : NULL;
}

static bool key(const parse_state *parser, size_t i, const PgQuery__Node *node, ldx_key *out) {
  if (node->node_case != PG_QUERY__NODE__NODE_INDEX_ELEM) return refuse(parser->error, "a key that is none");
  const PgQuery__IndexElem *from = node->index_elem;
  const char *column = given(from->name) ? from->name : plain_column(from->expr);
  if (column) {
    out->column = ldx_arena_strdup(parser->arena, column);
  } else {
    out->expression = key_expression(parser, i);
    if (!out->expression) return refuse(parser->error, "a key without text");
  }
  out->opclass = qualified(parser, from->n_opclass, from->opclass);
  if (!options(parser, from->n_opclassopts, from->opclassopts, &out->opclass_options)) return false;
  out->collation = qualified(parser, from->n_collation, from->collation);
  out->descending = from->ordering == PG_QUERY__SORT_BY_DIR__SORTBY_DESC;
  out->nulls_first = from->nulls_ordering == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST ||
                     (from->nulls_ordering != PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST && out->descending);
  return true;
}

/* `INCLUDE (a)`: keys for the grammar, names for everybody else. */
static bool included(const parse_state *parser, size_t count, PgQuery__Node *const *nodes, ldx_strings *out) {
  out->count = count;
  out->items = LDX_ARENA_NEW(parser->arena, const char *, count + 1);
  for (size_t i = 0; i < count; i++) {
    const PgQuery__Node *node = nodes[i];
    if (node->node_case != PG_QUERY__NODE__NODE_INDEX_ELEM || !given(node->index_elem->name))
      return refuse(parser->error, "expressions are not supported in included columns");
    out->items[i] = ldx_arena_strdup(parser->arena, node->index_elem->name);
  }
  return true;
}

static void column_keys(const parse_state *parser, size_t count, PgQuery__Node *const *nodes) {
  ldx_definition *definition = parser->definition;
  definition->key_count = count;
  definition->keys = LDX_ARENA_NEW(parser->arena, ldx_key, count + 1);
  for (size_t i = 0; i < count; i++) definition->keys[i].column = ldx_arena_strdup(parser->arena, string_of(nodes[i]));
}

/* --- statements ----------------------------------------------------------------------------------------------------- */

static bool index_statement(parse_state *parser, const PgQuery__IndexStmt *from) {
  ldx_definition *definition = parser->definition;
  definition->kind = LDX_KIND_INDEX;
  if (!relation(parser, from->relation, &definition->relation)) return false;
  if (given(from->idxname)) *parser->name = ldx_arena_strdup(parser->arena, from->idxname);
  if (given(from->access_method)) definition->method = ldx_arena_strdup(parser->arena, from->access_method);
  if (given(from->table_space)) definition->tablespace = ldx_arena_strdup(parser->arena, from->table_space);
  definition->unique = from->unique;
  definition->nulls_not_distinct = from->nulls_not_distinct;

  find_keys(parser);
  definition->key_count = from->n_index_params;
  definition->keys = LDX_ARENA_NEW(parser->arena, ldx_key, from->n_index_params + 1);
  for (size_t i = 0; i < from->n_index_params; i++)
    if (!key(parser, i, from->index_params[i], &definition->keys[i])) return false;
  if (from->where_clause) definition->predicate = predicate(parser);
  return included(parser, from->n_index_including_params, from->index_including_params, &definition->include) &&
         options(parser, from->n_options, from->options, &definition->storage);
}

static bool exclusion(parse_state *parser, const PgQuery__Constraint *from) {
  ldx_definition *definition = parser->definition;
  if (given(from->access_method)) definition->method = ldx_arena_strdup(parser->arena, from->access_method);
  find_keys(parser);
  definition->key_count = from->n_exclusions;
  definition->keys = LDX_ARENA_NEW(parser->arena, ldx_key, from->n_exclusions + 1);
  for (size_t i = 0; i < from->n_exclusions; i++) {
    const PgQuery__Node *pair = from->exclusions[i]; /* (key, list of the operator's names) */
    if (pair->node_case != PG_QUERY__NODE__NODE_LIST || pair->list->n_items != 2 ||
        pair->list->items[1]->node_case != PG_QUERY__NODE__NODE_LIST || pair->list->items[1]->list->n_items == 0)
      return refuse(parser->error, "an exclusion without operator");
    if (!key(parser, i, pair->list->items[0], &definition->keys[i])) return false;
    const PgQuery__List *names = pair->list->items[1]->list;
    const char *operator= string_of(names->items[names->n_items - 1]);
    definition->keys[i].operator= names->n_items == 1
        ? ldx_arena_strdup(parser->arena, operator)
        : ldx_arena_printf(parser->arena, "OPERATOR(%s.%s)",
                           ldx_pg_quote_identifier(parser->arena, string_of(names->items[0])), operator);
  }
  if (from->where_clause) definition->predicate = predicate(parser);
  return true;
}

static const char *action(const char *letter) {
  switch (letter ? *letter : '\0') {
  case 'r':
    return "restrict";
  case 'c':
    return "cascade";
  case 'n':
    return "set null";
  case 'd':
    return "set default";
  default:
    return "no action";
  }
}

static bool foreign_key(parse_state *parser, const PgQuery__Constraint *from) {
  ldx_definition *definition = parser->definition;
  column_keys(parser, from->n_fk_attrs, from->fk_attrs);
  if (!relation(parser, from->pktable, &definition->references)) return false;
  copy_strings(parser, from->n_pk_attrs, from->pk_attrs, &definition->references_columns);
  definition->on_update = action(from->fk_upd_action);
  definition->on_delete = action(from->fk_del_action);
  copy_strings(parser, from->n_fk_del_set_cols, from->fk_del_set_cols, &definition->on_delete_columns);
  definition->match = from->fk_matchtype && *from->fk_matchtype == 'f' ? "full" : "simple";
  return true;
}

static bool constraint(parse_state *parser, const PgQuery__Constraint *from) {
  ldx_definition *definition = parser->definition;
  if (given(from->conname)) *parser->name = ldx_arena_strdup(parser->arena, from->conname);
  if (given(from->indexname)) {
    ldx_error_set(parser->error, LDX_ERROR_INVALID_DEFINITION,
                  "USING INDEX says which index to take, not what the constraint is");
    ldx_error_hint(parser->error, "Give the columns: the index is built, or found, by definition.");
    return false;
  }
  definition->deferrable = from->deferrable || from->initdeferred;
  definition->initially_deferred = from->initdeferred;
  definition->nulls_not_distinct = from->nulls_not_distinct;
  if (given(from->indexspace)) definition->tablespace = ldx_arena_strdup(parser->arena, from->indexspace);
  copy_strings(parser, from->n_including, from->including, &definition->include);
  if (!options(parser, from->n_options, from->options, &definition->storage)) return false;
  switch (from->contype) {
  case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
  case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
    definition->kind = from->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY ? LDX_KIND_PRIMARY_KEY : LDX_KIND_UNIQUE;
    definition->unique = true;
    column_keys(parser, from->n_keys, from->keys);
    return true;
  case PG_QUERY__CONSTR_TYPE__CONSTR_EXCLUSION:
    definition->kind = LDX_KIND_EXCLUSION;
    return exclusion(parser, from);
  case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
    definition->kind = LDX_KIND_FOREIGN_KEY;
    return foreign_key(parser, from);
  default:
    return refuse(parser->error, "the constraint is neither unique, primary key, foreign key nor exclusion constraint");
  }
}

static bool alter_statement(parse_state *parser, const PgQuery__AlterTableStmt *from) {
  if (!relation(parser, from->relation, &parser->definition->relation)) return false;
  if (from->n_cmds != 1) return refuse(parser->error, "ALTER TABLE does more than one thing; give one constraint each");
  const PgQuery__Node *node = from->cmds[0];
  if (node->node_case != PG_QUERY__NODE__NODE_ALTER_TABLE_CMD ||
      node->alter_table_cmd->subtype != PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint || !node->alter_table_cmd->def ||
      node->alter_table_cmd->def->node_case != PG_QUERY__NODE__NODE_CONSTRAINT)
    return refuse(parser->error, "ALTER TABLE does something else than ADD CONSTRAINT");
  return constraint(parser, node->alter_table_cmd->def->constraint);
}

static bool statement(parse_state *parser, const PgQuery__ParseResult *tree) {
  if (tree->n_stmts == 0) return refuse(parser->error, "there is no statement");
  if (tree->n_stmts > 1)
    return ldx_error_set(parser->error, LDX_ERROR_INVALID_DEFINITION, "there are %zu statements; expected one",
                         tree->n_stmts);
  const PgQuery__Node *node = tree->stmts[0]->stmt;
  bool ok;
  if (node && node->node_case == PG_QUERY__NODE__NODE_INDEX_STMT) {
    ok = index_statement(parser, node->index_stmt);
  } else if (node && node->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT) {
    ok = alter_statement(parser, node->alter_table_stmt);
  } else {
    return refuse(parser->error, "the statement is neither CREATE INDEX nor ALTER TABLE … ADD CONSTRAINT");
  }
  /* The defaults of the grammar, made explicit as index.h wants them. */
  ldx_definition *definition = parser->definition;
  if (ok && !definition->method && definition->kind != LDX_KIND_FOREIGN_KEY) definition->method = "btree";
  if (ok && !definition->on_update) definition->on_update = definition->on_delete = "no action";
  return ok;
}

static bool word_at(const parse_state *parser, size_t i, const char *word) {
  if (i >= parser->tokens.count) return false;
  const sql_token *token = &parser->tokens.items[i];
  size_t length = strlen(word);
  return token->end - token->start == length && strncasecmp(parser->sql + token->start, word, length) == 0;
}

/* The parser is PostgreSQL 15's. What later versions added is not a user's mistake and has another way. */
static void hint_newer(const parse_state *parser) {
  for (size_t i = 0; i < parser->tokens.count; i++) {
    const char *instead = word_at(parser, i, "without") && word_at(parser, i + 1, "overlaps")
                              ? "without_overlaps = true"
                          : word_at(parser, i, "period")                                    ? "period = true"
                          : word_at(parser, i, "not") && word_at(parser, i + 1, "enforced") ? "not_enforced = true"
                                                                                            : NULL;
    if (!instead) continue;
    ldx_error_hint(parser->error,
                   "The parser knows the SQL of PostgreSQL 15; declare this with fields and %s, not as SQL.", instead);
    return;
  }
}

/* NULL: nested too deeply. */
static PgQuery__ParseResult *unpacked(const PgQueryProtobufParseResult *result) {
  return pg_query__parse_result__unpack(NULL, result->parse_tree.len, (const uint8_t *)result->parse_tree.data);
}

bool ldx_pg_parse(ldx_arena *arena, const char *sql, ldx_definition *definition, const char **name, ldx_error *error) {
  ldx_error_clear(error);
  memset(definition, 0, sizeof *definition);
  *name = NULL;
  parse_state parser = {.arena = arena, .sql = sql, .definition = definition, .name = name, .error = error};
  if (!scan(arena, sql, &parser.tokens, error)) return false;

  PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql);
  PgQuery__ParseResult *tree = NULL;
  bool ok = false;
  if (result.error) {
    syntax_error(sql, result.error, 0, error);
    hint_newer(&parser);
    goto out;
  }
  tree = unpacked(&result);
  if (!tree) {
    ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "the statement is nested too deeply");
    goto out;
  }
  ok = statement(&parser, tree);
out:
  if (tree) pg_query__parse_result__free_unpacked(tree, NULL);
  pg_query_free_protobuf_parse_result(result);
  return ok;
}

/* --- expressions ---------------------------------------------------------------------------------------------------- */

/* Between parentheses the text is one whole, whatever it says: it has none that close more than it opens, and no semicolon.
 * The grammar leaves nothing else. */
static bool one_whole(const token_list *tokens, ldx_error *error) {
  size_t depth = 0;
  for (size_t i = 0; i < tokens->count; i++) {
    const sql_token *token = &tokens->items[i];
    if (opens(token)) depth++;
    if (closes(token) && depth-- == 0) return refuse(error, "a closing bracket without its opening one");
    if (token->kind == PG_QUERY__TOKEN__ASCII_59) return refuse(error, "a semicolon; one expression is no statement");
  }
  return depth == 0 || refuse(error, "an opening bracket without its closing one");
}

/* One whole is one expression if it has no comma outside of its own parentheses and is no SELECT. */
static bool one_expression(const char *text, const token_list *tokens, ldx_error *error) {
  if (!one_whole(tokens, error)) return false;
  size_t depth = 0;
  for (size_t i = 0; i < tokens->count; i++) {
    const sql_token *token = &tokens->items[i];
    if (opens(token)) depth++;
    if (closes(token)) depth--;
    if (token->kind == PG_QUERY__TOKEN__PARAM)
      return ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "a parameter (%.*s)", (int)(token->end - token->start),
                           text + token->start);
    if (token->kind == PG_QUERY__TOKEN__ASCII_44 && depth == 0) return refuse(error, "a comma between two expressions");
  }
  token_range inner = bare(tokens, (token_range){0, tokens->count});
  if (inner.from == inner.to) return refuse(error, "there is no expression");
  switch (tokens->items[inner.from].kind) {
  case PG_QUERY__TOKEN__SELECT:
  case PG_QUERY__TOKEN__VALUES:
  case PG_QUERY__TOKEN__WITH:
  case PG_QUERY__TOKEN__TABLE:
    return refuse(error, "a subquery is no expression of an index");
  case PG_QUERY__TOKEN__WHERE:
    return refuse(error, "the word WHERE is not part of the expression");
  default:
    return true;
  }
}

/* The parser is that of PostgreSQL 15. Whether what it refuses is a mistake or one of the forms that came later, the server
 * will say, which sees every expression before anything is done. */
static bool may_be_newer(const char *text) {
  static const char *const forms[] = {"json", "at local", "system_user"};
  for (const char *p = text; *p; p++)
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
      if (strncasecmp(p, forms[i], strlen(forms[i])) == 0) return true;
  return false;
}

const char *ldx_pg_check_expression(ldx_arena *arena, const char *text, ldx_error *error) {
  static const char before[] = "SELECT (";
  ldx_error_clear(error);
  token_list tokens;
  if (!scan(arena, text, &tokens, error) || !one_expression(text, &tokens, error)) return NULL;

  token_range range = bare(&tokens, (token_range){0, tokens.count});
  const char *expression = text_of(arena, text, &tokens, range);
  /* All of the text, for the positions in messages; on a line of its own, or a comment at the end would swallow it. */
  PgQueryProtobufParseResult result = pg_query_parse_protobuf(ldx_arena_printf(arena, "%s%s\n)", before, text));
  if (result.error && !may_be_newer(text)) {
    if (result.error->cursorpos > (int)sizeof before - 1 + characters(text)) {
      ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "the expression breaks off");
    } else {
      syntax_error(text, result.error, (int)sizeof before - 1, error);
    }
    expression = NULL;
  }
  pg_query_free_protobuf_parse_result(result);
  return expression;
}

/* --- parameters ----------------------------------------------------------------------------------------------------- */

bool ldx_pg_parameters(ldx_arena *arena, const char *text, ldx_strings *parameters, ldx_error *error) {
  ldx_error_clear(error);
  token_list tokens;
  if (!scan(arena, text, &tokens, error) || !one_whole(&tokens, error)) return false;
  if (tokens.count == 0) return refuse(error, "the text is empty");
  parameters->count = 0;
  parameters->items = LDX_ARENA_NEW(arena, const char *, tokens.count + 1);
  for (size_t i = 0; i < tokens.count; i++)
    if (tokens.items[i].kind == PG_QUERY__TOKEN__PARAM)
      parameters->items[parameters->count++] = text_of(arena, text, &tokens, (token_range){i, i + 1});
  return true;
}

/* --- assignments ---------------------------------------------------------------------------------------------------- */

static bool assignments(ldx_arena *arena, const PgQuery__ParseResult *tree, ldx_strings *columns, ldx_error *error) {
  const PgQuery__Node *node = tree->n_stmts == 1 ? tree->stmts[0]->stmt : NULL;
  const PgQuery__UpdateStmt *update =
      node && node->node_case == PG_QUERY__NODE__NODE_UPDATE_STMT ? node->update_stmt : NULL;
  if (!update || update->n_from_clause > 0 || update->where_clause || update->n_returning_list > 0)
    return refuse(error, "there is more than assignments");
  columns->count = update->n_target_list;
  columns->items = LDX_ARENA_NEW(arena, const char *, columns->count + 1);
  for (size_t i = 0; i < columns->count; i++)
    columns->items[i] = ldx_arena_strdup(arena, update->target_list[i]->res_target->name);
  return true;
}

bool ldx_pg_assigned(ldx_arena *arena, const char *text, ldx_strings *columns, ldx_error *error) {
  static const char before[] = "UPDATE t SET ";
  ldx_error_clear(error);
  PgQueryProtobufParseResult result = pg_query_parse_protobuf(ldx_arena_printf(arena, "%s%s", before, text));
  PgQuery__ParseResult *tree = NULL;
  bool ok = false;
  if (result.error) {
    syntax_error(text, result.error, (int)sizeof before - 1, error);
    if (may_be_newer(text))
      ldx_error_hint(error, "The parser knows the SQL of PostgreSQL 15; a function may do what newer words say.");
  } else if (!(tree = unpacked(&result))) {
    refuse(error, "the text is nested too deeply");
  } else {
    ok = assignments(arena, tree, columns, error);
  }
  if (tree) pg_query__parse_result__free_unpacked(tree, NULL);
  pg_query_free_protobuf_parse_result(result);
  return ok;
}

/* --- what only reads ------------------------------------------------------------------------------------------------ */

static const char *burden_of(const PgQuery__Node *node) {
  switch (node ? node->node_case : PG_QUERY__NODE__NODE__NOT_SET) {
  case PG_QUERY__NODE__NODE_REINDEX_STMT:
    return "REINDEX";
  case PG_QUERY__NODE__NODE_CLUSTER_STMT:
    return "CLUSTER";
  case PG_QUERY__NODE__NODE_VACUUM_STMT:
    return node->vacuum_stmt->is_vacuumcmd ? "VACUUM" : "ANALYZE";
  case PG_QUERY__NODE__NODE_LOCK_STMT:
    return "LOCK TABLE";
  case PG_QUERY__NODE__NODE_CHECK_POINT_STMT:
    return "CHECKPOINT";
  case PG_QUERY__NODE__NODE_LOAD_STMT:
    return "LOAD";
  case PG_QUERY__NODE__NODE_COPY_STMT:
    return *node->copy_stmt->filename ? "COPY" : NULL;
  default:
    return NULL;
  }
}

bool ldx_pg_has_several(const char *sql) {
  PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql);
  PgQuery__ParseResult *tree = result.error ? NULL : unpacked(&result);
  bool several = tree && tree->n_stmts > 1;
  if (tree) pg_query__parse_result__free_unpacked(tree, NULL);
  pg_query_free_protobuf_parse_result(result);
  return several;
}

const char *ldx_pg_burdens(const char *sql) {
  const char *burden = NULL;
  PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql);
  PgQuery__ParseResult *tree = result.error ? NULL : unpacked(&result);
  for (size_t i = 0; tree && !burden && i < tree->n_stmts; i++) burden = burden_of(tree->stmts[i]->stmt);
  if (tree) pg_query__parse_result__free_unpacked(tree, NULL);
  pg_query_free_protobuf_parse_result(result);
  return burden;
}
