/* driver.c: MongoDB as a driver. */
#include "driver_parts.h"
#include "session.h"

const ldx_driver ldx_driver_mongodb = {
    .name = "mongodb",
    .open = ldx_mongo_open,
    .close = ldx_mongo_close,
    .alive = ldx_mongo_alive,
    .cancel = ldx_mongo_cancel,
};
