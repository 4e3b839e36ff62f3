/* explain.h: what a name is that is not what it was taken for, and which name was meant. Only asked about declarations
 * that are wrong.
 */
#ifndef LUNADEX_PG_EXPLAIN_H
#define LUNADEX_PG_EXPLAIN_H

#include "session.h"

/* A relation that was not found: says so if the name is a view's, a sequence's … */
void ldx_pg_explain_missing(ldx_session *session, ldx_arena *arena, ldx_declared *declared);
/* A definition that the server refused: gives its error a better hint if a method, operator class, collation or storage
 * parameter in it does not exist. */
void ldx_pg_explain_refused(ldx_session *session, ldx_arena *arena, ldx_declared *declared);

#endif
