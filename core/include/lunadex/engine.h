/* engine.h: worker threads, one session each, and the queues between them and the one thread that owns the engine.
 *
 * The owner submits jobs and polls events; it is the only thread that may call these functions. Workers never see a Lua state. Sessions are opened when first needed and reopened after a lost link.
 */
#ifndef LUNADEX_ENGINE_H
#define LUNADEX_ENGINE_H

#include "lunadex/driver.h"

/* Retry as a value: delay n is first_delay * factor^(n-1), capped, with full jitter, which keeps two runs that collided
 * from colliding again. */
typedef struct ldx_retry_policy {
  int attempts;       /* in all; 1: no retry */
  double first_delay; /* seconds */
  double factor;
  double max_delay; /* seconds */
  double total;     /* seconds for all attempts and delays; 0: no limit */
} ldx_retry_policy;

extern const ldx_retry_policy ldx_retry_default; /* 10 attempts, 1 s × 2, at most 60 s */

typedef enum ldx_job_kind {
  LDX_JOB_CONNECT, /* make sure the target can be reached; out: info */
  LDX_JOB_CATALOG,
  LDX_JOB_RESOLVE,
  LDX_JOB_MEASURE,
  LDX_JOB_PERFORM,
  LDX_JOB_QUERY,
  LDX_JOB_TRANSACT, /* only on an engine of one worker: all that follows is part of the transaction until it ends */
  LDX_JOB_HISTORY,
  LDX_JOB_STATUS,
  LDX_JOB_LOCK, /* taken and held on the watcher's session, for the engine's life or until LDX_JOB_UNLOCK */
  LDX_JOB_UNLOCK,
} ldx_job_kind;

/* A job's input stays the owner's and must not change until the job's DONE event; its arena holds what comes out. */
typedef struct ldx_job {
  ldx_job_kind kind;
  uint64_t id; /* set by submit */
  ldx_arena *arena;
  ldx_retry_policy retry;
  /* in */
  ldx_catalog *catalog; /* RESOLVE; out of CATALOG (one reference, the owner's) */
  ldx_declarations *declarations;
  ldx_measure *measures;
  size_t measure_count;
  ldx_step step;
  ldx_statement statement;   /* QUERY */
  ldx_transition transition; /* TRANSACT; what comes out of it, too */
  ldx_history history;       /* HISTORY: what */
  const char **parameters;   /* HISTORY */
  size_t parameter_count;
  /* out */
  bool ok;
  ldx_error error;
  ldx_server_info info; /* CONNECT */
  ldx_result *result;   /* QUERY, HISTORY, STATUS */
  int attempts;
  int session; /* on which it ran, counted from 1 as they were opened; 0: on none */
  bool built;  /* PERFORM: it began to build something, and did not just find it there */
  double seconds;
  /* the engine's */
  struct ldx_job *next;
  ldx_context *context;
} ldx_job;

typedef enum ldx_event_kind {
  LDX_EVENT_STARTED,   /* a worker took the job */
  LDX_EVENT_PROGRESS,  /* a step's progress changed */
  LDX_EVENT_NOTE,      /* text worth telling */
  LDX_EVENT_NOTICE,    /* what the server said beside its result */
  LDX_EVENT_ROWS,      /* of a query that gives them in batches; it waits for ldx_engine_more */
  LDX_EVENT_RETRY,     /* an attempt failed, the next comes after `delay` */
  LDX_EVENT_DONE,      /* job->ok or job->error; the job is the owner's again */
  LDX_EVENT_LOCK_LOST, /* the watcher's session died while it held the run lock */
} ldx_event_kind;

typedef struct ldx_event {
  ldx_event_kind kind;
  ldx_job *job;             /* NULL for LOCK_LOST */
  ldx_progress progress;    /* PROGRESS */
  const char *text;         /* NOTE, else "" */
  const ldx_notice *notice; /* NOTICE */
  const ldx_result *rows;   /* ROWS */
  ldx_error error;          /* RETRY, LOCK_LOST */
  int attempt;              /* RETRY: the one that failed */
  double delay;             /* RETRY: seconds */
  void *memory;             /* which text, notice and rows are in, for ldx_event_free */
} ldx_event;

typedef struct ldx_engine ldx_engine;

/* Starts `jobs` workers and the watcher; connects to nothing yet, so that a connection can be made while its owner does
 * something else. Each worker opens its session with its first job. `target` is copied. */
ldx_engine *ldx_engine_new(const ldx_driver *driver, const ldx_target *target, int jobs, ldx_error *error);
/* Cancels what runs, waits for it, closes all. */
void ldx_engine_free(ldx_engine *engine);

/* The engine keeps the pointer until it gives it back with DONE. */
void ldx_engine_submit(ldx_engine *engine, ldx_job *job);
/* Waits up to `timeout` seconds (negative: for ever) for an event; false: none came. A signal also ends the wait. What
 * the event points to is the caller's, also when the engine is gone. */
bool ldx_engine_poll(ldx_engine *engine, double timeout, ldx_event *event);
void ldx_event_free(void *memory); /* NULL is fine */
/* Waits, up to `timeout` seconds (negative: for ever), until one of them has an event. A signal also ends the wait, and it
 * may end for nothing. */
void ldx_engine_wait(ldx_engine *const *engines, size_t count, double timeout);
/* Lets a query that has given a batch of rows go on to the next one. */
void ldx_engine_more(ldx_engine *engine, ldx_job *job);
/* Cancel one job, or with NULL all, queued ones too; each still ends with DONE. */
void ldx_engine_cancel(ldx_engine *engine, ldx_job *job);
/* Jobs submitted and not yet given back. */
size_t ldx_engine_pending(const ldx_engine *engine);

#endif
