/* error.h: what can go wrong, and what may be done about it.
 *
 * Every fallible function of the core takes an `ldx_error *` owned by its caller and returns false (or NULL) after
 * filling it. Nothing here allocates, so an error can always be reported. Messages are lower case without a full stop;
 * a hint is a sentence. An error never holds a password: drivers redact before they fill it.
 */
#ifndef LUNADEX_ERROR_H
#define LUNADEX_ERROR_H

#include <stdbool.h>

/* What a caller may do after an error of this class. */
typedef enum ldx_retry {
  LDX_RETRY_NEVER,     /* the same call would fail again */
  LDX_RETRY_AGAIN,     /* nothing happened; the same call may succeed later (lock, deadlock, serialization) */
  LDX_RETRY_RECONNECT, /* the request never reached the server: connect again, then call again */
  LDX_RETRY_VERIFY,    /* the link was lost in mid-request: read the catalog before anything else */
} ldx_retry;

/* X(enumerator, name seen by Lua and JSON, retry class) */
#define LDX_ERROR_CODES(X)                                                                                             \
  X(NONE, "none", NEVER)                                                                                               \
  X(INTERNAL, "internal", NEVER)             /* a bug of ours, or memory exhausted */                                  \
  X(USAGE, "usage", NEVER)                   /* the caller's argument, option or target string is wrong */             \
  X(CONNECT, "connect", RECONNECT)           /* refused, unreachable, starting up, too many clients */                 \
  X(AUTHENTICATION, "authentication", NEVER) /* wrong password, role or pg_hba rule */                                 \
  X(NO_DATABASE, "no_database", NEVER)                                                                                 \
  X(POOLER, "pooler", NEVER)           /* a connection pooler stands in between */                                     \
  X(READ_ONLY, "read_only", NEVER)     /* a standby, or default_transaction_read_only */                               \
  X(UNSUPPORTED, "unsupported", NEVER) /* this server or driver cannot do that */                                      \
  X(LINK_LOST, "link_lost", VERIFY)                                                                                    \
  X(LOCK_TIMEOUT, "lock_timeout", AGAIN)                                                                               \
  X(DEADLOCK, "deadlock", AGAIN)                                                                                       \
  X(SERIALIZATION, "serialization", AGAIN)                                                                             \
  X(CANCELLED, "cancelled", NEVER)    /* by us, on request */                                                          \
  X(TERMINATED, "terminated", VERIFY) /* an administrator or a shutdown ended our session */                           \
  X(DUPLICATE_KEY, "duplicate_key", NEVER)                                                                             \
  X(DUPLICATE_NAME, "duplicate_name", NEVER)                                                                           \
  X(UNDEFINED, "undefined", NEVER)                   /* no such relation, column, function, type, opclass … */       \
  X(INVALID_DEFINITION, "invalid_definition", NEVER) /* the server (or we) cannot accept this definition */            \
  X(PERMISSION, "permission", NEVER)                                                                                   \
  X(DISK_FULL, "disk_full", NEVER)                                                                                     \
  X(DEPENDENT, "dependent", NEVER) /* something else needs the object */                                               \
  X(LOCK_HELD, "lock_held", NEVER) /* another Lunadex run holds the database's run lock */                             \
  X(LOCK_LOST, "lock_lost", NEVER) /* ours has ended, or may have: nothing more is written */                          \
  X(SERVER, "server", NEVER)       /* any other error of the server */

typedef enum ldx_error_code {
#define X(id, name, retry) LDX_ERROR_##id,
  LDX_ERROR_CODES(X)
#undef X
} ldx_error_code;

typedef struct ldx_error {
  ldx_error_code code;
  char native[8];     /* the server's own code: SQLSTATE, or a MongoDB code in decimal; "" if none */
  char message[1024]; /* what happened */
  char detail[1024];  /* the server's detail: duplicate key, dependent objects …; "" if none */
  char hint[1024];    /* a sentence: what to do; "" if none */
  char context[256];  /* inside which function of the server it happened; "" if in none */
} ldx_error;

/* All static strings. */
const char *ldx_error_name(ldx_error_code code);
ldx_retry ldx_error_retry(ldx_error_code code);

/* Fill *error (may be NULL) and return false, so that a caller can `return ldx_error_set(…)`. */
bool ldx_error_set(ldx_error *error, ldx_error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void ldx_error_hint(ldx_error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ldx_error_clear(ldx_error *error);

#endif
