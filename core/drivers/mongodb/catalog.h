/* catalog.h: what is live in a MongoDB database.
 *
 * The index on _id, and that of a clustered collection, are the server's own: they stand there as `extension_owned`,
 * which keeps them from being strays, dropped, renamed or written into snapshots, while a registry may declare them all
 * the same. The index that carries a shard key is `referenced`. The collections lunadex.* are ours and left out, and
 * system.* are the server's; a time-series collection has its indexes on its own name, as its users see them.
 */
#ifndef LUNADEX_MONGO_CATALOG_H
#define LUNADEX_MONGO_CATALOG_H

#include "session.h"

/* ldx_driver.catalog. One request where the server and the user's rights allow it, else one for each collection. The caller
 * releases it (ldx_catalog_release); NULL: it could not be read, as of ldx_mongo_walk. */
ldx_catalog *ldx_mongo_catalog(ldx_session *session, ldx_context *context, ldx_error *error);

extern const ldx_dialect ldx_mongo_dialect;

#endif
