/* codes.h: the server's codes that mean something here, by name as in its error_codes.yml, and what each is to us. */
#ifndef LUNADEX_MONGO_CODES_H
#define LUNADEX_MONGO_CODES_H

#include "lunadex/error.h"

#define LDX_MONGO_CODES(X)                                                                                             \
  X(HOST_UNREACHABLE, 6, LINK_LOST) /* between members */                                                              \
  X(HOST_NOT_FOUND, 7, LINK_LOST)                                                                                      \
  X(NETWORK_TIMEOUT, 89, LINK_LOST)                                                                                    \
  X(SHUTDOWN_IN_PROGRESS, 91, LINK_LOST)                                                                               \
  X(PRIMARY_STEPPED_DOWN, 189, LINK_LOST)                                                                              \
  X(SOCKET_EXCEPTION, 9001, LINK_LOST)                                                                                 \
  X(LEGACY_NOT_PRIMARY, 10058, LINK_LOST)                                                                              \
  X(NOT_WRITABLE_PRIMARY, 10107, LINK_LOST)                                                                            \
  X(INTERRUPTED_AT_SHUTDOWN, 11600, LINK_LOST)                                                                         \
  X(INTERRUPTED_DUE_TO_REPL_STATE_CHANGE, 11602, LINK_LOST)                                                            \
  X(NOT_PRIMARY_NO_SECONDARY_OK, 13435, LINK_LOST)                                                                     \
  X(NOT_PRIMARY_OR_SECONDARY, 13436, LINK_LOST)                                                                        \
  X(USER_NOT_FOUND, 11, AUTHENTICATION)                                                                                \
  X(AUTHENTICATION_FAILED, 18, AUTHENTICATION)                                                                         \
  X(MECHANISM_UNAVAILABLE, 334, AUTHENTICATION)                                                                        \
  X(UNAUTHORIZED, 13, PERMISSION)                                                                                      \
  X(AUTH_SCHEMA_INCOMPATIBLE, 33, AUTHENTICATION)                                                                      \
  X(DUPLICATE_KEY, 11000, DUPLICATE_KEY)                                                                               \
  X(CANNOT_CONVERT_INDEX_TO_UNIQUE, 359, DUPLICATE_KEY)                                                                \
  X(INDEX_OPTIONS_CONFLICT, 85, DUPLICATE_NAME)                                                                        \
  X(INDEX_KEY_SPECS_CONFLICT, 86, DUPLICATE_NAME)                                                                      \
  X(NAMESPACE_EXISTS, 48, DUPLICATE_NAME)                                                                              \
  X(INDEX_ALREADY_EXISTS, 68, DUPLICATE_NAME)                                                                          \
  X(NAMESPACE_NOT_FOUND, 26, UNDEFINED)                                                                                \
  X(INDEX_NOT_FOUND, 27, UNDEFINED)                                                                                    \
  X(BAD_VALUE, 2, INVALID_DEFINITION)                                                                                  \
  X(FAILED_TO_PARSE, 9, INVALID_DEFINITION)                                                                            \
  X(TYPE_MISMATCH, 14, INVALID_DEFINITION)                                                                             \
  X(CANNOT_CREATE_INDEX, 67, INVALID_DEFINITION)                                                                       \
  X(INVALID_OPTIONS, 72, INVALID_DEFINITION)                                                                           \
  X(INVALID_NAMESPACE, 73, INVALID_DEFINITION)                                                                         \
  X(COMMAND_NOT_SUPPORTED_ON_VIEW, 166, INVALID_DEFINITION)                                                            \
  X(CANNOT_INDEX_PARALLEL_ARRAYS, 171, INVALID_DEFINITION)                                                             \
  X(INVALID_INDEX_SPECIFICATION_OPTION, 197, INVALID_DEFINITION)                                                       \
  X(INCOMPATIBLE_COLLATION_VERSION, 201, INVALID_DEFINITION)                                                           \
  X(TOO_MANY_KEY_FIELDS, 13103, INVALID_DEFINITION)                                                                    \
  X(UNIQUE_HASHED, 16764, INVALID_DEFINITION)                                                                          \
  X(UNKNOWN_FIELD, 40415, INVALID_DEFINITION)                                                                          \
  X(COMMAND_NOT_FOUND, 59, UNSUPPORTED)                                                                                \
  X(COMMAND_NOT_SUPPORTED, 115, UNSUPPORTED)                                                                           \
  X(QUERY_FEATURE_NOT_ALLOWED, 303, UNSUPPORTED)                                                                       \
  X(API_STRICT_ERROR, 323, UNSUPPORTED)                                                                                \
  X(LOCK_TIMEOUT, 24, LOCK_TIMEOUT)                                                                                    \
  X(LOCK_BUSY, 46, LOCK_TIMEOUT)                                                                                       \
  X(CONFLICTING_OPERATION_IN_PROGRESS, 117, SERIALIZATION)                                                             \
  X(WRITE_CONFLICT, 112, SERIALIZATION)                                                                                \
  X(NO_SUCH_TRANSACTION, 251, SERIALIZATION)                                                                           \
  X(BACKGROUND_OPERATION_IN_PROGRESS_FOR_NAMESPACE, 12587, SERIALIZATION)                                              \
  X(BACKGROUND_OPERATION_IN_PROGRESS_FOR_DATABASE, 12586, SERIALIZATION)                                               \
  X(STALE_SHARD_VERSION, 63, SERIALIZATION)                                                                            \
  X(STALE_CONFIG, 13388, SERIALIZATION)                                                                                \
  X(MAX_TIME_MS_EXPIRED, 50, LOCK_TIMEOUT)                                                                             \
  X(EXCEEDED_TIME_LIMIT, 262, LOCK_TIMEOUT)                                                                            \
  X(CLIENT_DISCONNECT, 279, LINK_LOST)                                                                                 \
  X(FAILED_TO_SATISFY_READ_PREFERENCE, 133, LINK_LOST) /* a router finds no primary of a shard */                      \
  X(CURSOR_NOT_FOUND, 43, SERIALIZATION)               /* while an index was walked */                                 \
  X(QUERY_PLAN_KILLED, 175, SERIALIZATION)             /* its index or collection went */                              \
  X(OUT_OF_DISK_SPACE, 14031, DISK_FULL)                                                                               \
  X(COMMAND_FAILED, 125, SERVER)                                                                                       \
  X(INTERRUPTED, 11601, SERVER) /* killOp */                                                                           \
  X(CURSOR_KILLED, 237, SERVER)                                                                                        \
  X(INDEX_BUILD_ABORTED, 276, SERVER)

typedef enum ldx_mongo_code {
#define X(name, number, code) LDX_MONGO_CODE_##name = (number),
  LDX_MONGO_CODES(X)
#undef X
} ldx_mongo_code;

/* error.c: whether that is what the server answered. */
bool ldx_mongo_is(const ldx_error *error, ldx_mongo_code code);

#endif
