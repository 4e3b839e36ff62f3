/* driver_parts.h: the functions of the driver that driver.c gathers, one file each. Contracts: lunadex/driver.h. */
#ifndef LUNADEX_POSTGRES_DRIVER_PARTS_H
#define LUNADEX_POSTGRES_DRIVER_PARTS_H

#include "lunadex/driver.h"

/* "luna" and "dex" in ASCII; the SQL files write them out. */
#define LDX_PG_LOCK_KEYS "1819635297, 6579576"

/* lock.c */
bool ldx_pg_lock(ldx_session *session, ldx_error *error);
bool ldx_pg_unlock(ldx_session *session, ldx_error *error);

/* watch.c */
bool ldx_pg_watch(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error);
bool ldx_pg_dismiss(ldx_session *session, int64_t pid, const ldx_strings *applications, bool terminate, bool *sent,
                    ldx_error *error);

/* measure.c */
bool ldx_pg_measure(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);

/* query.c */
ldx_result *ldx_pg_query(ldx_session *session, const ldx_statement *statement, ldx_context *context, ldx_arena *arena,
                         ldx_error *error);
bool ldx_pg_transact(ldx_session *session, ldx_transition *transition, ldx_context *context, ldx_arena *arena,
                     ldx_error *error);

/* history.c */
ldx_result *ldx_pg_history(ldx_session *session, ldx_arena *arena, ldx_history what, const char *const *parameters,
                           size_t parameter_count, ldx_error *error);

/* status.c */
ldx_result *ldx_pg_status(ldx_session *session, ldx_arena *arena, ldx_error *error);

#endif
