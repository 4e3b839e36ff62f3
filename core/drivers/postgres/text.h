/* text.h: what has to be known about PostgreSQL's expression texts without parsing them: where strings, quoted names,
 * comments and brackets begin and end. Everything that needs more asks the server.
 */
#ifndef LUNADEX_PG_TEXT_H
#define LUNADEX_PG_TEXT_H

#include "lunadex/arena.h"

/* The end of the token that starts at `text` (a string, quoted name, comment, word or single character). */
const char *ldx_pg_token_end(const char *text);
/* The closing bracket that matches the opening one at `text`, or NULL. */
const char *ldx_pg_matching(const char *text);
/* Without white space around it and without parentheses that enclose all of it. Allocated in `arena` where it differs. */
const char *ldx_pg_strip_parentheses(ldx_arena *arena, const char *text);
/* `text`, as the server printed it, respelt so that the server prints it like that again after parsing it.
 *
 * Two of the forms it prints are not fixed points: an array that was built from a list of another type,
 * `(ARRAY['a'::character varying])::text[]`, is parsed as an array of casts; and `((a >= 1) AND (a <= 2)) AND b`, which
 * BETWEEN makes (and comparing rows), is flattened. Both have a spelling that is. */
const char *ldx_pg_stable_spelling(ldx_arena *arena, const char *text);
/* `text` without the parentheses around a part of a chain, `(a AND b) AND c`: they change nothing, and whether the server
 * keeps them depends on how it was told (BETWEEN keeps its own, a person's are dropped). NULL where there are none. */
const char *ldx_pg_flat_chains(ldx_arena *arena, const char *text);

#endif
