/* driver.c: MongoDB as a driver. */
#include "catalog.h"
#include "driver_parts.h"
#include "resolve.h"
#include "session.h"

const ldx_driver ldx_driver_mongodb = {
    .name = "mongodb",
    .dialect = &ldx_mongo_dialect,
    .open = ldx_mongo_open,
    .close = ldx_mongo_close,
    .catalog = ldx_mongo_catalog,
    .check = ldx_mongo_check_declared,
    .resolve = ldx_mongo_resolve,
    .measure = ldx_mongo_measure,
    .query = ldx_mongo_query,
    .transact = ldx_mongo_transact,
    .perform = ldx_mongo_perform,
    .describe = ldx_mongo_describe,
    .watch = ldx_mongo_watch,
    .lock = ldx_mongo_lock,
    .unlock = ldx_mongo_unlock,
    .hold = ldx_mongo_hold,
    .history = ldx_mongo_history,
    .alive = ldx_mongo_alive,
    .cancel = ldx_mongo_cancel,
    .status = ldx_mongo_status,
};
