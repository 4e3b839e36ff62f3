/* guard.h: what a statement drops, or gives another name, is what was looked at.
 *
 * Names say nothing: between the plan and a step, and between its look and its statement, somebody may have put something
 * else there. So what has a name is first compared with what was meant, and the transaction that takes it away, or puts it
 * in its place, looks once more, by number, when it has the locks that let nobody in between.
 */
#ifndef LUNADEX_POSTGRES_GUARD_H
#define LUNADEX_POSTGRES_GUARD_H

#include "attempt.h"
#include "same.h"
#include "statements.h"

/* What stands under a name on the step's relation. */
typedef struct ldx_pg_thing {
  const char *name;
  ldx_pg_named what;
  ldx_pg_index_state index;           /* of an index, and of a constraint that has one */
  ldx_pg_constraint_state constraint; /* type 0: it is none */
} ldx_pg_thing;

bool ldx_pg_see_thing(ldx_pg_attempt *attempt, const char *name, ldx_pg_thing *thing);

/* Whether it is what was meant: it has the number `id` (of the constraint, if `definition` is one), or is what
 * `definition` says, for REINDEX CONCURRENTLY and ALTER COLUMN TYPE make the same anew. With neither (0, NULL) whatever has
 * the name is meant. False with an error (LDX_ERROR_DEPENDENT) where it is not. */
bool ldx_pg_is_meant(ldx_pg_attempt *attempt, const ldx_pg_thing *thing, uint32_t id, const ldx_definition *definition);

/* For the beginning of a transaction that drops `old`, or makes a key of the index `new`: locks the step's relation, then
 * sees that they are still there. Either may be NULL. */
char *ldx_pg_sql_guard(ldx_pg_attempt *attempt, const ldx_pg_thing *old, const ldx_pg_thing *new);
/* For the end of one that renames it, beginning with ";\n": sees that it is what is called `name` now. */
char *ldx_pg_sql_see_renamed(ldx_arena *arena, const ldx_pg_thing *thing, const char *name);
/* ldx_pg_send_in_slices for a text with these: where they found something else, the error is LDX_ERROR_UNDEFINED, and it
 * is worth looking again. */
bool ldx_pg_send_guarded(ldx_pg_attempt *attempt, const char *sql);

#endif
