/* driver.h: what a database has to offer. One struct of functions per database; nothing outside its folder knows more.
 *
 * Threads: a session belongs to one thread at a time, only `cancel` may be called from another. Functions return false
 * (or NULL) after filling `error`. `context` is how a long operation hears of cancellation and tells what it is doing.
 */
#ifndef LUNADEX_DRIVER_H
#define LUNADEX_DRIVER_H

#include <stdatomic.h>

#include "lunadex/catalog.h"
#include "lunadex/diff.h"
#include "lunadex/error.h"
#include "lunadex/value.h"

typedef struct ldx_session ldx_session; /* the driver's own */

typedef struct ldx_target {
  const char *url;              /* as given: URL or key=value; "" : the driver's environment (PG*) */
  const char *application_name; /* what the server shows; never holds a secret */
  double connect_timeout;       /* seconds; 0: the driver's default (10) */
  bool read_only;          /* nothing is changed through it: the engine refuses steps, run lock and history, the driver
                            * statements that write (LDX_ERROR_READ_ONLY) */
  bool to_write;           /* MongoDB: a replica set without a primary, which could be read, will not do */
  bool notices;            /* PostgreSQL: of what the server says beside results, all that the role wants to hear; else
                            * warnings alone */
  bool lasting;            /* idle sessions are kept: what was set on them is to stay; the engine's */
  const atomic_bool *stop; /* once true, `open` soon gives up with LDX_ERROR_CANCELLED; outlives it; may be NULL */
  struct ldx_context *context; /* told what the server says meanwhile; NULL: nobody is */
} ldx_target;

typedef struct ldx_server_info {
  const char *driver; /* ldx_driver.name, set by the engine */
  char product[32];   /* "PostgreSQL" */
  char version[32];   /* "15.18" */
  int version_number; /* 150018 */
  char database[128], user[128], host[256], port[16];
  char display[512]; /* the target without secrets: postgresql://app@db.internal/shop */
  char identity[64]; /* two targets with the same one lead to the same database */
  bool read_only;    /* a standby, or read-only by default: it can be read, not changed */
  bool standby;      /* which of the two */
  char warning[256]; /* a known defect of this version that matters here; "" if none */
} ldx_server_info;

/* --- one change to the live database: the smallest unit that is retried, cancelled and reported ------------------- */

typedef enum ldx_step_kind {
  LDX_STEP_BUILD,    /* build `definition` as `name` on `definition->relation` (an index, or a key with its index) */
  LDX_STEP_ATTACH,   /* attach index `other` (of a partition) to the partitioned index `name` */
  LDX_STEP_DROP,     /* drop index `name`, if it is the one that is meant */
  LDX_STEP_RENAME,   /* rename index or constraint `name` to `other` */
  LDX_STEP_SWAP,     /* in one transaction: `name` becomes `spare`, `other` becomes `name` */
  LDX_STEP_ALTER,    /* make `name` what `definition` says, in place: its storage options; MongoDB: uniqueness, too */
  LDX_STEP_VALIDATE, /* validate foreign key `name` of `relation` */
  LDX_STEP_AWAIT, /* changes nothing. PostgreSQL: the partitioned index or key `name` has to be valid by now; MongoDB:
                      * wait until nobody is building `name` any more */
  LDX_STEP_DROP_CONSTRAINT, /* drop constraint `name` of `relation` (only ever one that was just replaced, or its replacement) */
} ldx_step_kind;

typedef enum ldx_mode { LDX_MODE_AUTO, LDX_MODE_CONCURRENT, LDX_MODE_BLOCKING } ldx_mode;

/* Who may be sent away when it has blocked a step for `patience` seconds, by the name its application gives itself.
 * Nobody else ever is, and nobody by default. */
typedef struct ldx_dismissal {
  ldx_strings cancel;    /* what they run is cancelled: of no use against an idle transaction */
  ldx_strings terminate; /* their session is ended */
  double patience;
} ldx_dismissal;

/* An index that is built in the same scan as another. */
typedef struct ldx_companion {
  const char *name;
  const ldx_definition *definition;
} ldx_companion;

typedef struct ldx_step {
  ldx_step_kind kind;
  ldx_name relation;                /* schema and name of the relation, resolved */
  const ldx_definition *definition; /* BUILD, ALTER: what is to be; DROP, DROP_CONSTRAINT, RENAME: what has `name`;
                                     * SWAP: what has `other` */
  const ldx_definition *old; /* SWAP, BUILD with `replace`, ALTER: what has `name`; RENAME with `replace`: what has
                                     * `other`. It, and what is dropped or renamed, has to be as it is said to be, or to
                                     * have the number `id`; NULL and 0: whatever has the name is meant */
  const char *name;          /* of the index or constraint, without schema (it is the relation's) */
  const char *other;
  const char *spare;
  ldx_name other_relation; /* ATTACH: the partition `other` belongs to; BUILD of a part: the relation it is of */
  ldx_mode mode;
  uint32_t id;       /* of what `old` is about, else of what is dropped or renamed: the number of the constraint, or of
                                     * the index that is under none */
  bool only_invalid; /* DROP: only while it is of no use. MongoDB, ALTER: nothing but that it refuses duplicates
                                     * without being unique is taken back; what is gone or being built stays so */
  bool only;         /* BUILD on a partitioned relation: ON ONLY, partitions are attached later */
  bool use_existing; /* BUILD of a unique constraint or primary key: from the unique index `other` */
  bool replace;      /* in the same transaction, the constraint that has the name goes; BUILD
                                     * of a key: it is `name`; RENAME: it is `other` */
  bool existing;     /* MongoDB, BUILD: the relation was there, and is not to be made anew if it is gone */
  bool check_duplicates; /* BUILD of something unique: read the table first, and refuse at once */
  bool list_duplicates;  /* BUILD, ALTER: after LDX_ERROR_DUPLICATE_KEY all of them are told (ldx_listing) */
  bool partitioned;      /* BUILD of a constraint: its relation is partitioned and this server adds it in no
                                     * other way than in one go; for `describe`, which cannot look */
  ldx_strings nullable;  /* BUILD of a primary key: its columns that may hold null; likewise for `describe`.
                                     * DROP_CONSTRAINT of one: those that may again */
  double lock_timeout;   /* seconds to get the table's lock before the work starts; 0: no limit */
  double drain_timeout;  /* seconds for waits after the work; 0: no limit */
  ldx_dismissal dismissal;
  const char *maintenance_work_mem; /* "512MB"; NULL: the server's */
  int parallel_workers;             /* -1: the server's */
  const char *commit_quorum;        /* MongoDB: "votingMembers", "majority" or a number; NULL: the server's */
  /* MongoDB, BUILD: others of the same relation that are built by the same command, if they can all be built: they have
   * steps of their own, which find them there, or build them. */
  const ldx_companion *companions;
  size_t companion_count;
} ldx_step;

/* Where a running step is. Written by `watch`, turned into events by the engine. */
typedef struct ldx_progress {
  char phase[64];     /* the server's words: "building index: loading tuples in tree" */
  double done, total; /* in `unit`; total 0: unknown */
  char unit[16];      /* "blocks", "tuples", "" */
  bool started;       /* the table's lock was had: the lock budget no longer counts */
  bool queued;        /* it waits for a lock, and everybody else behind it: that is ended after a moment */
  bool draining;      /* the work is done, it waits for other sessions */
  /* Who blocks, "": nobody. Up to the first comma it is the same text for as long as they do:
   * `pid 3120 report@bi-2 "nightly-report", idle in transaction since 0:48: SELECT …` */
  char blocker[512];
  int64_t blocker_pid; /* the process, for `dismiss`; 0: nobody, or no process: MongoDB's, prepared transactions */
} ldx_progress;

/* The engine's side of a running operation. */
typedef struct ldx_context ldx_context;
/* True once the run was told to stop: finish or cancel what the server does, clean up, return LDX_ERROR_CANCELLED. */
bool ldx_context_cancelled(ldx_context *context);
/* The lock budget ran out (the watcher decided so): cancel and return LDX_ERROR_LOCK_TIMEOUT. */
bool ldx_context_over_budget(ldx_context *context);
/* The step is about to run as this operation, so that the watcher can look for it; 0 when it no longer does. A number by
 * which the driver finds it again: PostgreSQL, the server's process; MongoDB, the session that sent it. */
void ldx_context_running(ldx_context *context, int64_t operation);
/* False once the run lock, if one was taken, is lost: nothing more is to be written. Fills `error` (LDX_ERROR_LOCK_LOST).
 * Asked before each write by drivers whose lock can end by itself; where it may have ended and nobody can say yet, the
 * call waits until it is known (LDX_ERROR_CANCELLED: it was told to stop). */
bool ldx_context_locked(ldx_context *context, ldx_error *error);
/* The step is about to build something: it does not just find it there. */
void ldx_context_builds(ldx_context *context);
/* For a driver that waits for an answer which may take hours, called now and then meanwhile: for so many seconds the server
 * has given no sign of life, 0: it has given one. Tells of silence once, and of its end. */
void ldx_context_silence(ldx_context *context, double seconds);
/* For one that cannot see that for itself: by what the watcher is answered, which asks all the time. */
void ldx_context_waits(ldx_context *context);
/* One line worth telling: "dropped the invalid leftover …", with the SQL that brings back what was dropped, if any. */
void ldx_context_note(ldx_context *context, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What a server says beside results. Texts may have several lines, and be NULL, but for severity and message. */
typedef struct ldx_notice {
  const char *severity; /* PostgreSQL's word, in English: "NOTICE", "WARNING", "INFO" … */
  const char *native;   /* its SQLSTATE */
  const char *message, *detail, *hint;
  size_t left_out; /* the engine's, and then there is nothing else: so many were left out here */
} ldx_notice;
/* Tells one; all is copied. A driver whose server says such things (PostgreSQL does, MongoDB has nothing like it) tells
 * those of query, transact and perform, and of open for a target that has a context. It never waits for the owner: of what
 * comes faster than that takes it the engine leaves out what would not fit into a megabyte for each job, and says how many
 * that were. */
void ldx_context_notice(ldx_context *context, const ldx_notice *notice);

/* --- a lock behind which everybody else has to wait (strong_lock.c) ------------------------------------------------------ */

typedef enum ldx_holding {
  LDX_HOLDING_NOBODY, /* or not for longer than a moment */
  LDX_HOLDING_SOMEBODY,
  LDX_HOLDING_UNSEEN, /* it cannot be known */
} ldx_holding;

/* What a step wants of a relation, and how it comes by it. */
typedef struct ldx_strong_lock {
  ldx_context *context;
  const char *relation; /* for people */
  int64_t operation;    /* for ldx_context_running, while nothing is sent */
  double left;          /* seconds of the step's budget; both functions take from it */
  bool certain;         /* who has the relation is in the way for sure: nothing is sent meanwhile */
  /* Who has the relation; `who` is filled for SOMEBODY. False after filling `error`: it could not be asked. */
  bool (*holder)(void *state, ldx_holding *holding, char *who, size_t size, ldx_error *error);
  /* What takes the lock, and gives up after a moment with LDX_ERROR_LOCK_TIMEOUT. */
  bool (*send)(void *state, ldx_error *error);
  void *state;
} ldx_strong_lock;

/* The seconds that a step has for its locks; infinite: no limit. */
double ldx_lock_budget(const ldx_step *step);
/* Waits until nobody has the relation, as far as that can be seen. LDX_ERROR_LOCK_TIMEOUT: the budget is spent. */
bool ldx_strong_lock_wait(ldx_strong_lock *lock, ldx_error *error);
/* Sends again and again, with rests, until it has not failed for the lock, or the budget is spent. */
bool ldx_strong_lock_send(ldx_strong_lock *lock, ldx_error *error);

/* --- keys that several rows have, all of them (listing.c) ------------------------------------------------------------- */

/* Hands them over in batches, as rows of `group`, the key's number from 1, `key`, a JSON object, and `ids`, a list of texts
 * of JSON, each of which tells one row from all others. A group that is long goes on in the next batch. */
typedef struct ldx_listing ldx_listing;
ldx_listing *ldx_listing_new(ldx_context *context);
/* The next group begins. Both texts are copied. */
void ldx_listing_key(ldx_listing *listing, const char *key);
/* One row of it. False after filling `error`: no more is wanted. */
bool ldx_listing_id(ldx_listing *listing, const char *id, ldx_error *error);
/* Frees it; hands over what is left if all is well. Gives whether it still is. */
bool ldx_listing_end(ldx_listing *listing, bool ok, ldx_error *error);

typedef struct ldx_watched {
  const ldx_step *step;
  int64_t operation;     /* as of ldx_context_running */
  ldx_progress progress; /* out */
} ldx_watched;

/* --- statements, for scripts ---------------------------------------------------------------------------------------- */

typedef struct ldx_statement {
  /* SQL: one statement with parameters, or one or more without. Or: */
  const char *text;
  /* MongoDB: a command as a document, its name first. A field `$db` names another database than the session's. */
  const ldx_value *command;
  const ldx_value *parameters; /* $1 … */
  size_t parameter_count;
  size_t batch; /* so many rows at a time are handed over (ldx_context_rows), the rest is the result; 0: all is */
} ldx_statement;

/* Hands rows of a query, or of a listing, over and waits until the next ones are wanted. Both belong to the engine from
 * here on. False: they will not be, for the job was cancelled; fills `error`. */
bool ldx_context_rows(ldx_context *context, ldx_arena *arena, const ldx_result *rows, ldx_error *error);

/* A session's transaction. Between begin and end, its statements are not tried again and leave it open. */
typedef enum ldx_transaction {
  LDX_TRANSACTION_BEGIN,
  LDX_TRANSACTION_COMMIT,
  LDX_TRANSACTION_ROLLBACK,
  LDX_TRANSACTION_NEXT, /* COMMIT, and BEGIN of another */
} ldx_transaction;

static inline bool ldx_transaction_commits(ldx_transaction what) {
  return what == LDX_TRANSACTION_COMMIT || what == LDX_TRANSACTION_NEXT;
}
static inline bool ldx_transaction_begins(ldx_transaction what) {
  return what == LDX_TRANSACTION_BEGIN || what == LDX_TRANSACTION_NEXT;
}

/* What is to be done, together with statements: all is sent at once, and what follows a failure is left out. */
typedef struct ldx_transition {
  ldx_transaction what;
  const ldx_statement *statements; /* SQL only, without batches */
  size_t count;
  size_t last; /* so many of them are said before the COMMIT, the others behind the BEGIN */
  /* out */
  ldx_result **results; /* of those that were done, in their order */
  size_t done;
  bool committed; /* COMMIT, NEXT: also where what came after that has failed */
} ldx_transition;

/* The history of runs, which is kept in the database itself if that is asked for (docs/history.md). */
typedef enum ldx_history {
  LDX_HISTORY_READ, /* the last runs, the newest first; no rows where none was ever recorded */
  LDX_HISTORY_RUN,  /* a run begins: version, existing, planned. The tables are made if need be. Gives its id */
  LDX_HISTORY_CHANGE, /* a change begins or ends: run, number, action, relation, name, definition, critical, and at its end
                       * seconds, attempts, outcome, error */
  LDX_HISTORY_END,    /* a run ends: run, outcome, error */
} ldx_history;

typedef struct ldx_measure {
  ldx_relation *relation;           /* what to measure */
  ldx_live *live;                   /* also this index's size and use; may be NULL */
  const ldx_definition *definition; /* an index to be: the size is its estimate instead; may be NULL */
  bool build, drop, alter;          /* what is planned, for `forbidden`; none: it may be any of them */
  /* out; -1: unknown */
  double rows, table_bytes, index_bytes;
  double entries;            /* MongoDB: how many keys the index to be will hold */
  double scans, scans_since; /* uses of `live`, and the age of that count in seconds */
  bool being_built;          /* `live` is unfinished and somebody builds it right now: */
  char builder[256];         /* who, and how far */
  char at_parts[256];  /* `live` is partitioned and incomplete, and somebody builds on one of its partitions: who */
  char forbidden[256]; /* why this user cannot do that with indexes of `relation`; "": nothing speaks against it */
} ldx_measure;

/* --- what goes on in a database, as rows of texts (status.c) ------------------------------------------------------------ */

typedef enum ldx_status_column {
  LDX_STATUS_KIND, /* "build", "run_lock"; of an index that is not finished, what has become of it */
  LDX_STATUS_RELATION,
  LDX_STATUS_NAME,
  LDX_STATUS_PHASE,
  LDX_STATUS_PERCENT,
  LDX_STATUS_PID, /* a process; MongoDB: an operation, and of the run lock a process */
  LDX_STATUS_WHO,
  LDX_STATUS_BLOCKER,
  LDX_STATUS_DETAIL,
  LDX_STATUS_BYTES,
  LDX_STATUS_COLUMNS
} ldx_status_column;

/* Rows under way. The arena is the result's; all else begins as 0. */
typedef struct ldx_status {
  ldx_arena *arena;
  const char **texts;
  size_t count, room;
} ldx_status;

/* One row more, whose texts are NULL, and become what lives as long as the arena. Good until the next. */
const char **ldx_status_add(ldx_status *status);
ldx_result *ldx_status_result(const ldx_status *status);

typedef struct ldx_driver {
  const char *name; /* "postgres" */
  const ldx_dialect *dialect;

  /* --- required --------------------------------------------------------------------------------------------------- */
  /* Connects, or says why not. `info` may be NULL. */
  ldx_session *(*open)(const ldx_target *target, ldx_server_info *info, ldx_error *error);
  void (*close)(ldx_session *session);
  /* Every relation and live index, in as few round trips as the server allows. The context hears whom it waits for. */
  ldx_catalog *(*catalog)(ldx_session *session, ldx_context *context, ldx_error *error);
  /* Finds each declaration's relation and canonical form. Wrong declarations carry their own error and do not make the
   * call fail; it fails only if the server cannot be asked, and then nothing is resolved. May be called again. */
  bool (*resolve)(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                  ldx_error *error);
  /* Whether any server could take a declared definition, as far as that is known without one; NULL: nothing is. */
  bool (*check)(const ldx_definition *declared, ldx_error *error);
  /* What `resolve` does, as far as it takes no server: to compare declarations with one another. NULL: as they are
   * written. Only their texts count then; they have neither relation nor fingerprint. */
  void (*spell)(ldx_declarations *set);
  /* Runs one step. Idempotent: it first looks at what is there (done already, being built by somebody, an invalid
   * leftover) and leaves nothing invalid behind when it fails. */
  bool (*perform)(ldx_session *session, const ldx_step *step, ldx_context *context, ldx_error *error);
  /* The statements `perform` would send for a step on an untouched database, ";\n" separated. */
  char *(*describe)(ldx_arena *arena, const ldx_step *step);
  /* How far these steps are and who blocks them; on a session of its own. */
  bool (*watch)(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error);
  /* Tells process `pid` to end its session, or (not `terminate`) what it runs, if its application is one of these.
   * `*sent`: it was told to. */
  bool (*dismiss)(ldx_session *session, int64_t pid, const ldx_strings *applications, bool terminate, bool *sent,
                  ldx_error *error);
  /* Sizes, use, and who is building, for a list. */
  bool (*measure)(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error);
  /* The run lock of this database; never waited for. LDX_ERROR_LOCK_HELD: the error's detail says who has it. */
  bool (*lock)(ldx_session *session, ldx_error *error);
  bool (*unlock)(ldx_session *session, ldx_error *error);
  /* Renews the run lock, about every second; NULL: it lasts as long as its session. `*good_for`: seconds from the call
   * within which it cannot end. One that has ended, and that nobody took since, is renewed like any other.
   * LDX_ERROR_LOCK_LOST: somebody did, or it was removed; any other error: nothing is known, to be tried again. */
  bool (*hold)(ldx_session *session, double *good_for, ldx_error *error);
  /* Result in `arena`. */
  ldx_result *(*query)(ldx_session *session, const ldx_statement *statement, ldx_context *context, ldx_arena *arena,
                       ldx_error *error);
  /* COMMIT fails if the transaction had failed; ROLLBACK if the link is lost, which is as good. After a failure no
   * transaction is open. Results in `arena`. LDX_ERROR_USAGE: the server takes no such statements, or no NEXT. */
  bool (*transact)(ldx_session *session, ldx_transition *transition, ldx_context *context, ldx_arena *arena,
                   ldx_error *error);
  /* Reads the history, or writes a row of it. Waits for nobody: it fails after some seconds. Result in `arena`. */
  ldx_result *(*history)(ldx_session *session, ldx_arena *arena, ldx_history what, const char *const *parameters,
                         size_t parameter_count, ldx_error *error);
  /* Whether the link still stands. */
  bool (*alive)(ldx_session *session);
  /* Thread-safe: asks the server to cancel what the session does. */
  void (*cancel)(ldx_session *session);
  /* What is being built right now, leftovers, locks: ldx_status_result, in `arena`. */
  ldx_result *(*status)(ldx_session *session, ldx_arena *arena, ldx_error *error);
} ldx_driver;

/* The driver a target belongs to ("mongodb://" and "mongodb+srv://" are MongoDB's, "postgres://", "postgresql://",
 * key=value and "" PostgreSQL's), or NULL. */
const ldx_driver *ldx_driver_for(const char *url, ldx_error *error);

/* By its name; NULL if this build has none of it. */
const ldx_driver *ldx_driver_named(const char *name);

extern const ldx_driver ldx_driver_postgres;
extern const ldx_driver ldx_driver_mongodb;

#endif
