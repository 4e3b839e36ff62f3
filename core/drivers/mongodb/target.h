/* target.h: a target of MongoDB, before anybody is asked. Pure text, no server. */
#ifndef LUNADEX_MONGO_TARGET_H
#define LUNADEX_MONGO_TARGET_H

#include "base/redact.h"
#include "library.h"
#include "lunadex/driver.h"

/* What the URL says, with the settings every client of ours has; the caller destroys it. It names a database that may
 * have indexes. `secrets` gets what must not be told, `patience` for how many seconds the server may be silent
 * (socketTimeoutMS). NULL: LDX_ERROR_USAGE. */
mongoc_uri_t *ldx_mongo_target_parse(const ldx_target *target, ldx_secrets *secrets, double *patience,
                                     ldx_error *error);

/* Fills display, user, database, host and port of `info`. */
void ldx_mongo_target_describe(const mongoc_uri_t *uri, ldx_server_info *info);

#endif
