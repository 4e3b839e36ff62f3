/* driver_parts.h: the functions of the driver that driver.c gathers, one file each, but for those of session.h.
 * Contracts: lunadex/driver.h. */
#ifndef LUNADEX_MONGO_DRIVER_PARTS_H
#define LUNADEX_MONGO_DRIVER_PARTS_H

#include "lunadex/driver.h"

/* measure.c */
bool ldx_mongo_measure(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);

/* query.c */
ldx_result *ldx_mongo_query(ldx_session *session, const ldx_statement *statement, ldx_context *context,
                            ldx_arena *arena, ldx_error *error);
bool ldx_mongo_transact(ldx_session *session, ldx_transition *transition, ldx_context *context, ldx_arena *arena,
                        ldx_error *error);

/* perform.c, describe.c, watch.c */
bool ldx_mongo_perform(ldx_session *session, const ldx_step *step, ldx_context *context, ldx_error *error);
char *ldx_mongo_describe(ldx_arena *arena, const ldx_step *step);
bool ldx_mongo_watch(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error);

/* lock.c: a lease, renewed by `hold`. */
bool ldx_mongo_lock(ldx_session *session, ldx_error *error);
bool ldx_mongo_unlock(ldx_session *session, ldx_error *error);
bool ldx_mongo_hold(ldx_session *session, double *good_for, ldx_error *error);
/* Who has it, for people, and as which process of his machine; `who` is "" where nobody has. False: as of
 * ldx_mongo_aside. */
bool ldx_mongo_lock_holder(ldx_session *session, char *who, size_t size, int64_t *pid, ldx_error *error);

/* status.c */
ldx_result *ldx_mongo_status(ldx_session *session, ldx_arena *arena, ldx_error *error);

/* history.c */
ldx_result *ldx_mongo_history(ldx_session *session, ldx_arena *arena, ldx_history what, const char *const *parameters,
                              size_t parameter_count, ldx_error *error);

/* canonical.c: ldx_driver.check. */
bool ldx_mongo_check_declared(const ldx_definition *declared, ldx_error *error);

#endif
