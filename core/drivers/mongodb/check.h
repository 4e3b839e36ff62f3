/* check.h: what the server would refuse, in words of the registry. No server is asked. False: LDX_ERROR_INVALID_DEFINITION,
 * or LDX_ERROR_UNSUPPORTED of what MongoDB has not at all. */
#ifndef LUNADEX_MONGO_CHECK_H
#define LUNADEX_MONGO_CHECK_H

#include <bson/bson.h>

#include "lunadex/diff.h"
#include "lunadex/driver.h"

/* Whether MongoDB has such a thing at all: the kind, keys that go together. */
bool ldx_mongo_check(const ldx_definition *declared, ldx_error *error);
/* Whether its options fit its keys and their values are in range; `spec` is what it would be built by. */
bool ldx_mongo_check_spec(const ldx_definition *canonical, const bson_t *spec, ldx_error *error);
/* Whether this server has the languages and storage engines it speaks of (offers.c). */
bool ldx_mongo_check_server(const ldx_session *session, const ldx_definition *canonical, ldx_error *error);
/* Whether a collection of that kind takes such an index; the second: one of time series (series.c). */
bool ldx_mongo_check_relation(const ldx_definition *canonical, const ldx_relation *relation, ldx_error *error);
bool ldx_mongo_check_series(const ldx_definition *canonical, const ldx_relation *relation, ldx_error *error);
/* An index's name. */
bool ldx_mongo_check_name(const char *name, ldx_error *error);
/* A collection's, in that database. */
bool ldx_mongo_check_collection(const char *name, const char *database, ldx_error *error);

#endif
