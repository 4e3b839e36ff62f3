/* expression.c: what an expression's text says by itself, without a server. */
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <string.h>

#include "drivers/postgres/parse.h"

/* On a line of its own, or a comment at the end would swallow the bracket. */
static PgQueryProtobufParseResult parsed(ldx_arena *arena, const char *expression) {
  return pg_query_parse_protobuf(ldx_arena_printf(arena, "SELECT (%s\n)", expression));
}

const char *ldx_pg_spelled(ldx_arena *arena, const char *expression) {
  static const char before[] = "SELECT ";
  const char *spelled = expression;
  PgQueryProtobufParseResult result = parsed(arena, expression);
  if (!result.error) {
    PgQueryDeparseResult text = pg_query_deparse_protobuf(result.parse_tree);
    if (!text.error && strncmp(text.query, before, sizeof before - 1) == 0)
      spelled = ldx_arena_strdup(arena, text.query + sizeof before - 1);
    pg_query_free_deparse_result(text);
  }
  pg_query_free_protobuf_parse_result(result);
  return spelled;
}

/* --- nulls ------------------------------------------------------------------------------------------------------------
 *
 * Three questions about an expression, each answered with the columns of which a null is enough: for what it is null,
 * for what it is not true, and for what it is not false. The last one is asked below a NOT. Where nobody can tell, the
 * answer is no column.
 */

typedef PgQuery__Node node;

static const ldx_strings nothing = {0, NULL};

static bool holds(ldx_strings set, const char *name) {
  for (size_t i = 0; i < set.count; i++)
    if (strcmp(set.items[i], name) == 0) return true;
  return false;
}

/* Of two sets, what is in either, or in both. */
static ldx_strings combined(ldx_arena *arena, ldx_strings a, ldx_strings b, bool either) {
  ldx_strings set = {0, LDX_ARENA_NEW(arena, const char *, a.count + b.count + 1)};
  for (size_t i = 0; i < a.count; i++)
    if (either || holds(b, a.items[i])) set.items[set.count++] = a.items[i];
  for (size_t i = 0; either && i < b.count; i++)
    if (!holds(a, b.items[i])) set.items[set.count++] = b.items[i];
  return set;
}

static const char *last_string(size_t count, node *const *names) {
  const node *last = count ? names[count - 1] : NULL;
  return last && last->node_case == PG_QUERY__NODE__NODE_STRING ? last->string->sval : "";
}

static bool is_one_of(const char *name, const char *const *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(name, list[i]) == 0) return true;
  return false;
}

/* Those that give null for a null, on either side. */
static bool is_strict_operator(const PgQuery__AExpr *expression) {
  static const char *const names[] = {"=",  "<>",  "!=", "<",   ">",   "<=",   ">=", "~",  "~*",
                                      "!~", "!~*", "~~", "!~~", "~~*", "!~~*", "+",  "-",  "*",
                                      "/",  "%",   "->", "->>", "#>",  "#>>",  "@>", "<@", "&&"};
  return is_one_of(last_string(expression->n_name, expression->name), names, sizeof names / sizeof *names);
}

static bool is_strict_function(const PgQuery__FuncCall *call) {
  static const char *const names[] = {"lower", "upper", "length", "char_length", "btrim", "ltrim", "rtrim", "abs"};
  return is_one_of(last_string(call->n_funcname, call->funcname), names, sizeof names / sizeof *names);
}

/* ARRAY[…] of something: all of an empty one is true of a null as well. */
static bool is_filled_array(const node *expression) {
  while (expression && expression->node_case == PG_QUERY__NODE__NODE_TYPE_CAST) expression = expression->type_cast->arg;
  return expression && expression->node_case == PG_QUERY__NODE__NODE_A_ARRAY_EXPR &&
         expression->a_array_expr->n_elements > 0;
}

static ldx_strings null_for(ldx_arena *arena, const node *expression);

static ldx_strings operator_null_for(ldx_arena *arena, const PgQuery__AExpr *expression) {
  switch (expression->kind) {
  case PG_QUERY__A__EXPR__KIND__AEXPR_OP:
  case PG_QUERY__A__EXPR__KIND__AEXPR_LIKE:
  case PG_QUERY__A__EXPR__KIND__AEXPR_ILIKE:
  case PG_QUERY__A__EXPR__KIND__AEXPR_SIMILAR:
    if (!is_strict_operator(expression)) return nothing;
    return combined(arena, null_for(arena, expression->lexpr), null_for(arena, expression->rexpr), true);
  case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ANY:
  case PG_QUERY__A__EXPR__KIND__AEXPR_OP_ALL:
    if (!is_strict_operator(expression) || !is_filled_array(expression->rexpr)) return nothing;
    return null_for(arena, expression->lexpr);
  case PG_QUERY__A__EXPR__KIND__AEXPR_IN:
  case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN:
  case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN:
  case PG_QUERY__A__EXPR__KIND__AEXPR_BETWEEN_SYM:
  case PG_QUERY__A__EXPR__KIND__AEXPR_NOT_BETWEEN_SYM:
    return null_for(arena, expression->lexpr);
  default:
    return nothing;
  }
}

static ldx_strings null_for(ldx_arena *arena, const node *expression) {
  ldx_strings set = nothing;
  switch (expression ? expression->node_case : PG_QUERY__NODE__NODE__NOT_SET) {
  case PG_QUERY__NODE__NODE_COLUMN_REF:
    set = (ldx_strings){1, LDX_ARENA_NEW(arena, const char *, 1)};
    set.items[0] =
        ldx_arena_strdup(arena, last_string(expression->column_ref->n_fields, expression->column_ref->fields));
    return set.items[0][0] ? set : nothing;
  case PG_QUERY__NODE__NODE_TYPE_CAST:
    return null_for(arena, expression->type_cast->arg);
  case PG_QUERY__NODE__NODE_COLLATE_CLAUSE:
    return null_for(arena, expression->collate_clause->arg);
  case PG_QUERY__NODE__NODE_A_EXPR:
    return operator_null_for(arena, expression->a_expr);
  case PG_QUERY__NODE__NODE_FUNC_CALL:
    for (size_t i = 0; is_strict_function(expression->func_call) && i < expression->func_call->n_args; i++)
      set = combined(arena, set, null_for(arena, expression->func_call->args[i]), true);
    return set;
  default:
    return nothing;
  }
}

/* For what it is not true; or, if `truth` is false, not false. With `certain`, for what it is the other one: not null. */
static ldx_strings never(ldx_arena *arena, const node *expression, bool truth, bool certain) {
  if (!expression) return nothing;
  if (expression->node_case == PG_QUERY__NODE__NODE_NULL_TEST) {
    bool is_not = expression->null_test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NOT_NULL;
    return is_not == truth ? null_for(arena, expression->null_test->arg) : nothing;
  }
  if (expression->node_case == PG_QUERY__NODE__NODE_BOOLEAN_TEST) {
    PgQuery__BoolTestType test = expression->boolean_test->booltesttype;
    bool false_for_null = test == PG_QUERY__BOOL_TEST_TYPE__IS_TRUE || test == PG_QUERY__BOOL_TEST_TYPE__IS_FALSE ||
                          test == PG_QUERY__BOOL_TEST_TYPE__IS_NOT_UNKNOWN;
    return false_for_null == truth ? null_for(arena, expression->boolean_test->arg) : nothing;
  }
  if (expression->node_case != PG_QUERY__NODE__NODE_BOOL_EXPR) return certain ? nothing : null_for(arena, expression);
  const PgQuery__BoolExpr *all = expression->bool_expr;
  if (all->boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR) return never(arena, all->args[0], !truth, certain);
  bool either = (all->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) == truth;
  ldx_strings set = never(arena, all->args[0], truth, certain);
  for (size_t i = 1; i < all->n_args; i++)
    set = combined(arena, set, never(arena, all->args[i], truth, certain), either);
  return set;
}

static bool says_not_null(const node *expression, bool truth) {
  if (expression->node_case == PG_QUERY__NODE__NODE_NULL_TEST) {
    const PgQuery__NullTest *test = expression->null_test;
    return (test->nulltesttype == PG_QUERY__NULL_TEST_TYPE__IS_NOT_NULL) == truth &&
           test->arg->node_case == PG_QUERY__NODE__NODE_COLUMN_REF;
  }
  if (expression->node_case != PG_QUERY__NODE__NODE_BOOL_EXPR) return false;
  const PgQuery__BoolExpr *all = expression->bool_expr;
  if (all->boolop == PG_QUERY__BOOL_EXPR_TYPE__NOT_EXPR) return says_not_null(all->args[0], !truth);
  if ((all->boolop == PG_QUERY__BOOL_EXPR_TYPE__AND_EXPR) != truth) return false;
  for (size_t i = 0; i < all->n_args; i++)
    if (!says_not_null(all->args[i], truth)) return false;
  return true;
}

bool ldx_pg_excluded_nulls(ldx_arena *arena, const char *predicate, bool check, ldx_strings *columns,
                           bool *nothing_else, ldx_error *error) {
  ldx_error_clear(error);
  *columns = nothing;
  *nothing_else = false;
  PgQueryProtobufParseResult result = parsed(arena, predicate);
  PgQuery__ParseResult *tree =
      result.error ? NULL
                   : pg_query__parse_result__unpack(NULL, result.parse_tree.len, (uint8_t *)result.parse_tree.data);
  const PgQuery__SelectStmt *select = tree && tree->n_stmts == 1 ? tree->stmts[0]->stmt->select_stmt : NULL;
  bool ok = select && select->n_target_list == 1;
  if (ok) {
    const node *expression = select->target_list[0]->res_target->val;
    *columns = never(arena, expression, true, check);
    *nothing_else = says_not_null(expression, true);
  } else {
    ldx_error_set(error, LDX_ERROR_INVALID_DEFINITION, "%s", result.error ? result.error->message : "no one predicate");
  }
  if (tree) pg_query__parse_result__free_unpacked(tree, NULL);
  pg_query_free_protobuf_parse_result(result);
  return ok;
}
