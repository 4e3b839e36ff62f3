/* store.h: the database of a fake target that names its relations: indexes that are built, dropped and changed.
 *
 * Of a set of relations that never changes; names of indexes are unique within their relation. Not thread-safe.
 */
#ifndef LUNADEX_DRIVERS_FAKE_STORE_H
#define LUNADEX_DRIVERS_FAKE_STORE_H

#include "lunadex/driver.h"

typedef struct ldx_fake_store ldx_fake_store;

/* The relations' names, separated by commas; the column that holds every value twice, NULL: there is none. */
ldx_fake_store *ldx_fake_store_new(const char *relations, const char *duplicated);
void ldx_fake_store_free(ldx_fake_store *store); /* NULL is fine */

ldx_catalog *ldx_fake_store_catalog(const ldx_fake_store *store);

/* A step is begun, then ended: in between, an index that is built stands there, invalid. `*work`: there is anything to
 * do. Ended without success, what was begun is gone, and all is as before. */
bool ldx_fake_store_begin(ldx_fake_store *store, const ldx_step *step, bool *work, ldx_error *error);
bool ldx_fake_store_end(ldx_fake_store *store, const ldx_step *step, bool success, ldx_error *error);

/* Calls `each` with every index that is being built. */
void ldx_fake_store_builds(const ldx_fake_store *store,
                           void (*each)(const char *relation, const char *name, void *state), void *state);

/* How many runs its history holds, and one more. */
int ldx_fake_store_runs(const ldx_fake_store *store);
int ldx_fake_store_add_run(ldx_fake_store *store);

#endif
