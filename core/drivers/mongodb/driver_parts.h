/* driver_parts.h: the functions of the driver that driver.c gathers, one file each, but for those of session.h.
 * Contracts: lunadex/driver.h. */
#ifndef LUNADEX_MONGO_DRIVER_PARTS_H
#define LUNADEX_MONGO_DRIVER_PARTS_H

#include "lunadex/driver.h"

#endif
