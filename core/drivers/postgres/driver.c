/* driver.c: PostgreSQL as a driver. */
#include "canonical.h"
#include "catalog.h"
#include "driver_parts.h"
#include "perform.h"
#include "resolve.h"
#include "statements.h"

const ldx_driver ldx_driver_postgres = {
    .name = "postgres",
    .dialect = &ldx_pg_dialect,
    .open = ldx_pg_open,
    .close = ldx_pg_close,
    .catalog = ldx_pg_catalog,
    .resolve = ldx_pg_resolve,
    .spell = ldx_pg_spell,
    .perform = ldx_pg_perform,
    .describe = ldx_pg_describe,
    .watch = ldx_pg_watch,
    .dismiss = ldx_pg_dismiss,
    .measure = ldx_pg_measure,
    .lock = ldx_pg_lock,
    .unlock = ldx_pg_unlock,
    .query = ldx_pg_query,
    .transact = ldx_pg_transact,
    .history = ldx_pg_history,
    .alive = ldx_pg_alive,
    .cancel = ldx_pg_cancel,
    .status = ldx_pg_status,
};
