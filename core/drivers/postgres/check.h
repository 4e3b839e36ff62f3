/* check.h: declarations that cannot come true, as far as the catalog can tell: a foreign key without a key to reference,
 * a second primary key, a tablespace that is not there.
 */
#ifndef LUNADEX_PG_CHECK_H
#define LUNADEX_PG_CHECK_H

#include "session.h"

/* Sets the error of each declaration in `set` that is wrong in such a way. `unmatched` are those of the resolved ones that
 * are not live as they are declared; without any, nothing is looked at but the primary keys. False if the server cannot
 * be asked any more. */
bool ldx_pg_check(ldx_session *session, const ldx_catalog *catalog, ldx_declarations *set, ldx_declared **unmatched,
                  size_t count, ldx_error *error);

#endif
