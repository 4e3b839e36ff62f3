/* catalog.h: the catalog of a PostgreSQL database, in one round trip and one snapshot. */
#ifndef LUNADEX_PG_CATALOG_H
#define LUNADEX_PG_CATALOG_H

#include "session.h"

/* ldx_driver.catalog */
ldx_catalog *ldx_pg_catalog(ldx_session *session, ldx_context *context, ldx_error *error);

#endif
