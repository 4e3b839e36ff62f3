/* settings.h: the settings of the storage engine that an index may have, configString. */
#ifndef LUNADEX_MONGO_SETTINGS_H
#define LUNADEX_MONGO_SETTINGS_H

#include "lunadex/error.h"

/* False: a name is unknown, or a value is not of the kind or in the range of its setting; `error` says which. What else
 * may be wrong with values (pages that are no multiple of one another, names that only the engine knows) is not seen. */
bool ldx_mongo_check_settings(const char *text, ldx_error *error);

#endif
