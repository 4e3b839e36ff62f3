/* statements.h: the SQL of steps. Pure: `perform` sends these texts, `describe` shows them, so the two cannot differ.
 *
 * Every text can be sent as it is. Those that take a lock that others would queue behind are one transaction in one
 * text, under a lock_timeout of their own, so that neither a lost client nor a slow network keeps the lock.
 * Results are allocated in `arena`.
 */
#ifndef LUNADEX_POSTGRES_STATEMENTS_H
#define LUNADEX_POSTGRES_STATEMENTS_H

#include "lunadex/driver.h"

/* The check constraint that proves to the server that the columns of a primary key to be hold no null. It exists only
 * while a step runs, or after one that died. Names of constraints are unique per relation: one is enough. */
#define LDX_PG_NOT_NULL_CHECK "lunadex_not_null"

/* CREATE INDEX CONCURRENTLY name …; with `blocking` a transaction for ldx_pg_send_in_slices. A partitioned relation
 * with step->only is always of the second kind. */
char *ldx_pg_sql_build(ldx_arena *arena, const ldx_step *step, const char *name, bool blocking);
/* DROP INDEX [CONCURRENTLY]: plainly only where it has to be (partitioned). `guard`, here and below: of ldx_pg_sql_guard,
 * for the beginning of the transaction; "" where nothing is dropped, or nobody has looked at it. */
char *ldx_pg_sql_drop_index(ldx_arena *arena, const ldx_step *step, ldx_name index, bool concurrently,
                            const char *guard);

/* A unique constraint or primary key from the unique index `index`; `nullable` columns are set not null on the way, and
 * with step->replace the constraint that has the name goes in the same statement. `marks`, here and below: of
 * ldx_pg_sql_inherit_marks and ldx_pg_sql_see_renamed, for its end; "" where nothing is replaced. */
char *ldx_pg_sql_add_key_using(ldx_arena *arena, const ldx_step *step, const char *index, const ldx_strings *nullable,
                               const char *guard, const char *marks);
/* Any constraint in one go, blocking: exclusion constraints, WITHOUT OVERLAPS; with step->only that of a partitioned
 * relation without its partitions, which takes no time. `nullable` (NULL: none) and step->replace as above, all in one
 * transaction. */
char *ldx_pg_sql_add_constraint(ldx_arena *arena, const ldx_step *step, const ldx_strings *nullable, const char *guard,
                                const char *marks);
char *ldx_pg_sql_add_foreign_key(ldx_arena *arena, const ldx_step *step, bool not_valid);
char *ldx_pg_sql_add_not_null_check(ldx_arena *arena, const ldx_step *step, const ldx_strings *columns);
char *ldx_pg_sql_validate(ldx_arena *arena, const ldx_step *step, const char *constraint);
/* `nullable` columns (NULL: none) may hold null again. */
char *ldx_pg_sql_drop_constraint(ldx_arena *arena, const ldx_step *step, const char *constraint,
                                 const ldx_strings *nullable, const char *guard);

/* What a name belongs to, for renaming: an index (with the constraint it backs), a constraint without one, nothing. */
typedef enum ldx_pg_named { LDX_PG_NAMED_NOTHING, LDX_PG_NAMED_INDEX, LDX_PG_NAMED_CONSTRAINT } ldx_pg_named;

/* With step->replace the constraint `other` goes in the same transaction. */
char *ldx_pg_sql_rename(ldx_arena *arena, const ldx_step *step, ldx_pg_named what, const char *guard,
                        const char *marks);
/* `old` NOTHING: there is none to get out of the way. */
char *ldx_pg_sql_swap(ldx_arena *arena, const ldx_step *step, ldx_pg_named old, ldx_pg_named new, const char *marks);
char *ldx_pg_sql_attach(ldx_arena *arena, const ldx_step *step);
/* NULL: nothing to change. `live` are the options the index has. */
char *ldx_pg_sql_alter(ldx_arena *arena, const ldx_step *step, const ldx_options *live);

/* Whether an index under a constraint can be built first, and the constraint made from it. */
bool ldx_pg_key_can_use_index(const ldx_definition *definition);

char *ldx_pg_describe(ldx_arena *arena, const ldx_step *step);

#endif
