/* library.h: libmongoc, which is loaded with the first target that is MongoDB's.
 *
 * To load it, with the libraries that it needs in turn and the preparations it makes on the way, takes a third of the time
 * of a short run, and most have nothing to do with MongoDB. So its functions are called through a table. libbson costs
 * nothing, and is linked.
 */
#ifndef LUNADEX_MONGO_LIBRARY_H
#define LUNADEX_MONGO_LIBRARY_H

#include <mongoc/mongoc.h>

#include "lunadex/error.h"

/* Its functions that are called, without `mongoc_`. */
#define LDX_MONGOC_FUNCTIONS(X)                                                                                        \
  X(client_command_simple)                                                                                             \
  X(client_command_with_opts)                                                                                          \
  X(client_destroy)                                                                                                    \
  X(client_get_server_descriptions)                                                                                    \
  X(client_new_from_uri)                                                                                               \
  X(client_new_from_uri_with_error)                                                                                    \
  X(client_reset)                                                                                                      \
  X(client_select_server)                                                                                              \
  X(client_session_abort_transaction)                                                                                  \
  X(client_session_append)                                                                                             \
  X(client_session_commit_transaction)                                                                                 \
  X(client_session_destroy)                                                                                            \
  X(client_session_start_transaction)                                                                                  \
  X(client_set_error_api)                                                                                              \
  X(client_start_session)                                                                                              \
  X(error_has_label)                                                                                                   \
  X(init)                                                                                                              \
  X(log_set_handler)                                                                                                   \
  X(read_prefs_copy)                                                                                                   \
  X(read_prefs_destroy)                                                                                                \
  X(read_prefs_new)                                                                                                    \
  X(server_description_destroy)                                                                                        \
  X(server_description_id)                                                                                             \
  X(server_description_type)                                                                                           \
  X(server_descriptions_destroy_all)                                                                                   \
  X(uri_copy)                                                                                                          \
  X(uri_destroy)                                                                                                       \
  X(uri_get_appname)                                                                                                   \
  X(uri_get_auth_mechanism)                                                                                            \
  X(uri_get_auth_source)                                                                                               \
  X(uri_get_database)                                                                                                  \
  X(uri_get_hosts)                                                                                                     \
  X(uri_get_option_as_bool)                                                                                            \
  X(uri_get_option_as_int32)                                                                                           \
  X(uri_get_option_as_utf8)                                                                                            \
  X(uri_get_password)                                                                                                  \
  X(uri_get_replica_set)                                                                                               \
  X(uri_get_srv_hostname)                                                                                              \
  X(uri_get_tls)                                                                                                       \
  X(uri_get_username)                                                                                                  \
  X(uri_has_option)                                                                                                    \
  X(uri_new_with_error)                                                                                                \
  X(uri_set_appname)                                                                                                   \
  X(uri_set_option_as_bool)                                                                                            \
  X(uri_set_option_as_int32)

typedef struct ldx_mongoc_functions {
/* NOLINTNEXTLINE(bugprone-macro-parentheses): the name of a member */
#define X(name) __typeof__(&mongoc_##name) name;
  LDX_MONGOC_FUNCTIONS(X)
#undef X
} ldx_mongoc_functions;

/* Filled by ldx_mongoc_load, for the life of the process. */
extern ldx_mongoc_functions ldx_mongoc;

/* Loads the library, unless that was done. LDX_ERROR_UNSUPPORTED: there is none, or not the right one. From any thread. */
bool ldx_mongoc_load(ldx_error *error);

#endif
