/* parse.h: SQL that people write, read by PostgreSQL's own parser (libpg_query).
 *
 * Knows no server and no session, so a registry can be checked without one. What libpg_query allocates is freed before
 * these functions return. Any thread may call them.
 */
#ifndef LUNADEX_PG_PARSE_H
#define LUNADEX_PG_PARSE_H

#include "lunadex/error.h"
#include "lunadex/index.h"

/* One `CREATE [UNIQUE] INDEX …`, or one `ALTER TABLE … ADD [CONSTRAINT …]` of a unique constraint, primary key, foreign
 * key or exclusion constraint. `*definition` is filled as index.h wants it, the texts of expressions and predicates cut
 * from `sql`; `*name` is NULL if the statement gives none. Both live in `arena`. False with LDX_ERROR_INVALID_DEFINITION
 * for everything else; the message says where in the text. */
bool ldx_pg_parse(ldx_arena *arena, const char *sql, ldx_definition *definition, const char **name, ldx_error *error);

/* `text` without comments and parentheses around it, if it is one expression and nothing else: no list, no subquery, no
 * second statement. Names are not looked up. NULL with LDX_ERROR_INVALID_DEFINITION. Allocated in `arena`. */
const char *ldx_pg_check_expression(ldx_arena *arena, const char *text, ldx_error *error);

/* The parameters in `text` as it has them ("$1"), each as often as it stands there; what looks like one within a literal or
 * a comment is none. False with LDX_ERROR_INVALID_DEFINITION for a text that would not stay by itself between parentheses,
 * such as `a) OR (b`, and for an empty one; what else it is the server has to judge. Allocated in `arena`. */
bool ldx_pg_parameters(ldx_arena *arena, const char *text, ldx_strings *parameters, ldx_error *error);

/* The columns that `text`, what stands behind SET in an UPDATE, assigns to, as the server would find them: in lower case
 * unless quoted. False with LDX_ERROR_INVALID_DEFINITION for anything else than assignments. Allocated in `arena`. */
bool ldx_pg_assigned(ldx_arena *arena, const char *text, ldx_strings *columns, ldx_error *error);

/* An expression as the parser prints what it has read: two that differ in spaces, case of names or parentheses alone are the
 * same then. As it is, where it cannot be read. Allocated in `arena`. */
const char *ldx_pg_spelled(ldx_arena *arena, const char *expression);

/* The columns of which a predicate is true for no null, each once, as far as its text tells: operators and functions are
 * taken for those of pg_catalog. Of a `check`, those for which it is false, as it holds where it is null. `*nothing_else`: it says just that they are not null. False with
 * LDX_ERROR_INVALID_DEFINITION where it cannot be read. Allocated in `arena`. */
bool ldx_pg_excluded_nulls(ldx_arena *arena, const char *predicate, bool check, ldx_strings *columns,
                           bool *nothing_else, ldx_error *error);

/* Whether `sql` is more than one statement. */
bool ldx_pg_has_several(const char *sql);

/* The name of what `sql` does, if a read-only transaction lets it through although it locks, rewrites or keeps the server
 * busy as what writes does ("REINDEX"); NULL for everything else, and what is no statement. Static. */
const char *ldx_pg_burdens(const char *sql);

#endif
