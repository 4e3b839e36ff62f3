/* catalog.h: the catalog of a PostgreSQL database, in one round trip and one snapshot. */
#ifndef LUNADEX_PG_CATALOG_H
#define LUNADEX_PG_CATALOG_H

#include "session.h"

extern const ldx_dialect ldx_pg_dialect;

/* ldx_driver.catalog */
ldx_catalog *ldx_pg_catalog(ldx_session *session, ldx_context *context, ldx_error *error);
/* Of it, the relation with number `oid` and those its foreign keys reference, with their indexes and keys. */
ldx_catalog *ldx_pg_catalog_around(ldx_session *session, ldx_context *context, const char *oid, ldx_error *error);

#endif
