/* Which driver a target belongs to. */
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "lunadex/driver.h"

static bool has_scheme(const char *url, const char *scheme) {
  return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

const ldx_driver *ldx_driver_for(const char *url, ldx_error *error) {
  if (has_scheme(url, "postgres://") || has_scheme(url, "postgresql://")) return &ldx_driver_postgres;
  const char *scheme = strstr(url, "://");
  const char *equals = strchr(url, '=');
  if (*url == '\0' || (equals && (!scheme || equals < scheme))) return &ldx_driver_postgres;
  if (has_scheme(url, "mongodb://") || has_scheme(url, "mongodb+srv://")) {
#ifdef LUNADEX_MONGODB
    return &ldx_driver_mongodb;
#else
    ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "this build has no driver for MongoDB");
    return NULL;
#endif
  }
  ldx_error_set(error, LDX_ERROR_USAGE, "not a target: neither a postgres:// or mongodb:// URL nor key=value pairs");
  ldx_error_hint(error,
                 "Write postgresql://user@host:port/database, host=… dbname=…, or mongodb://user@host:port/database.");
  return NULL;
}

const ldx_driver *ldx_driver_named(const char *name) {
  static const ldx_driver *const all[] = {
      &ldx_driver_postgres,
#ifdef LUNADEX_MONGODB
      &ldx_driver_mongodb,
#endif
  };
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strcmp(all[i]->name, name) == 0) return all[i];
  return NULL;
}
