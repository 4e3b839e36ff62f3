/* who.h: sessions as people read of them, and lists as parameters. */
#ifndef LUNADEX_POSTGRES_WHO_H
#define LUNADEX_POSTGRES_WHO_H

#include "session.h"

/* Who stands behind a session: `pid 3120 report@bi-2 "nightly-report", idle in transaction since 0:48: SELECT …`, from
 * seven columns of `row` that begin at `column`: pid, user, host, application, state, age in seconds, query. What the
 * server does not tell us is left out. */
void ldx_pg_who(char *to, size_t size, const PGresult *result, int row, int column);

/* A literal of type text[] for a parameter. NULL items become NULL. */
char *ldx_pg_text_array(ldx_arena *arena, size_t count, const char *const *items);

#endif
