/* session.h: one client of a MongoDB deployment, and the commands sent over it.
 *
 * Every command of ours goes through ldx_mongo_command, so that there is one place that redacts, translates errors and
 * tags what runs, and one way to wait (call.h). libmongoc finds the primary again by itself after a step-down; what was
 * lost under way is the caller's to verify, as everywhere.
 */
#ifndef LUNADEX_MONGO_SESSION_H
#define LUNADEX_MONGO_SESSION_H

#include <pthread.h>

#include "base/redact.h"
#include "library.h"
#include "lunadex/driver.h"

/* How the names of Lunadex's own collections begin, and the one that holds the run lock (lock.c). */
#define LDX_MONGO_OWN  "lunadex."
#define LDX_MONGO_LOCK LDX_MONGO_OWN "lock"
/* How the name of the collection begins in which the server keeps a time series; its own follows. */
#define LDX_MONGO_BUCKETS "system.buckets."
/* How the names of those begin in which drivers keep what is to be known of encrypted fields. */
#define LDX_MONGO_ENCRYPTED "enxcol_."
enum { LDX_MONGO_LONGEST_NAME = 256 }; /* of a collection, with its database's */

struct ldx_session {
  mongoc_client_t *client;          /* its thread's; NULL: left behind with a server that is silent (call.h) */
  mongoc_read_prefs_t *preferences; /* NULL: the primary's; on a set without one: a secondary's as long as that is so */
  char *database;
  ldx_server_info info;
  bool read_only;    /* the target's */
  bool sharded;      /* reached through mongos */
  bool stand_alone;  /* no member of a replica set */
  bool enterprise;   /* MongoDB Enterprise */
  char engines[128]; /* storage engines, a space before and after each; "": the server does not tell */
  int64_t number;    /* random, > 0: its commands carry it in their comment; as ldx_context_running has it */
  struct ldx_mongo_collations *collations; /* what the server made of them so far (collation.h); NULL: nothing yet */
  char *token;             /* the run lock's owner, for as long as this session holds it; else NULL (lock.c) */
  double patience;         /* seconds for which the server may be silent */
  ldx_context *context;    /* of the job that runs, to be told of silence; may be NULL */
  const atomic_bool *stop; /* while it connects: ldx_target.stop */
  mongoc_client_session_t *transaction; /* of a script's, that is open (query.c); else NULL */

  mongoc_uri_t *uri;   /* of both clients */
  ldx_secrets secrets; /* of it, for messages; unchanged once open */
  pthread_mutex_t aside_mutex;
  mongoc_client_t *aside; /* the second one, under the mutex (aside.h); NULL: nobody needed it yet */
  atomic_bool cancelled;  /* a cancel request came since the last command began */
};

/* What was done and not confirmed as was asked is no success: another primary may not have it. False with
 * LDX_ERROR_LINK_LOST. */
bool ldx_mongo_check_concern(const bson_t *reply, ldx_error *error);
/* Runs `command` on `database` (NULL: the session's), on the primary, tagged unless it has a comment of its own. `reply` is
 * always initialised, the caller destroys it; NULL if nobody wants it. False after an error of the server or the
 * network, or where a write failed for one of its documents or was not confirmed as its write concern asks. */
bool ldx_mongo_command(ldx_session *session, const char *database, const bson_t *command, bson_t *reply,
                       ldx_error *error);

/* All documents a cursor-making command (listIndexes, aggregate …) gives: `each` is called with every one and stops the
 * walk by returning false after filling `error`. A command that makes no cursor gives its reply as the only document,
 * without what it says of the cluster's time. */
typedef bool (*ldx_mongo_each)(const bson_t *document, void *state, ldx_error *error);
bool ldx_mongo_walk(ldx_session *session, const char *database, const bson_t *command, ldx_mongo_each each, void *state,
                    ldx_error *error);

/* A long command (a build): announced to the watcher (ldx_context_running), and ended early by cancellation or budget.
 * Otherwise as ldx_mongo_command, on the session's database. */
bool ldx_mongo_run(ldx_session *session, ldx_context *context, const bson_t *command, bson_t *reply, ldx_error *error);

/* Appends `comment: {lunadex: number, process}`, by which an operation is found in $currentOp:
 * `command.comment.lunadex`. */
void ldx_mongo_tag(const ldx_session *session, bson_t *command);
/* Of this process, random, > 0: sessions come and go with their links, and a build may outlive the one that began it. */
int64_t ldx_mongo_process(void);

/* What follows LDX_MONGO_BUCKETS in `name`; NULL: it does not begin so. */
const char *ldx_mongo_series_of(const char *name);

/* Forgets the session's transaction, if it has one, without a word to the server. */
void ldx_mongo_leave_transaction(ldx_session *session);

/* error.c: what libmongoc or the server said, as an error of ours. `reply`, whose labels may decide, may be NULL. */
void ldx_mongo_error(const ldx_session *session, const bson_error_t *from, const bson_t *reply, ldx_error *error);
/* What whoever lacks a right is told to do. */
#define LDX_MONGO_ROLES "Connect as a user with the roles readWrite and dbAdmin on the database."
/* Whether somebody ended what failed so: it did not fail by itself. */
bool ldx_mongo_was_ended(const ldx_error *error);

/* connect.c: ldx_driver.open; session.c: close, alive; cancel.c: ldx_driver.cancel. */
ldx_session *ldx_mongo_open(const ldx_target *target, ldx_server_info *info, ldx_error *error);
void ldx_mongo_close(ldx_session *session);
/* libmongoc replaces links that were lost, so a session outlives them, but not one that was left behind. */
bool ldx_mongo_alive(ldx_session *session);
void ldx_mongo_cancel(ldx_session *session);
/* Closes a client without a word to the server, which may not answer. NULL is nothing. */
void ldx_mongo_client_free(mongoc_client_t *client);

#endif
