/* internal.h: what the files of the engine share.
 *
 * Threads: the owner (engine.c), the workers (worker.c), the watcher (watcher.c). Two kinds of mutexes, taken in this
 * order, never the other way round:
 *   1. seat.mutex, one per thread with a session: the session, the job that runs on it, and where that job is. Held
 *      while `driver->cancel` is called from another thread, so that neither session nor job can go away meanwhile.
 *   2. engine.mutex: the queues. Never held while anything of a driver runs.
 * A driver's other functions are called with no mutex held, by the thread whose session it is.
 */
#ifndef LUNADEX_ENGINE_INTERNAL_H
#define LUNADEX_ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/retry.h"
#include "lunadex/engine.h"

typedef struct event_node {
  struct event_node *next;
  ldx_event_kind kind;
  ldx_context *context; /* NULL: LOCK_LOST */
  int attempt;
  double delay;
  /* The parts of an ldx_event that its kind has; they point behind the node. */
  ldx_progress *progress;
  ldx_error *error;
  char *text;
  const ldx_notice *notice;
  size_t size; /* of a notice's node */
  const ldx_result *rows;
  ldx_arena *arena; /* of the rows; the node's */
} event_node;

/* A thread with a session. */
typedef struct seat {
  pthread_mutex_t mutex;
  ldx_session *session; /* changed by its thread, under the mutex */
  ldx_context *context; /* the job that runs now; changed by its thread, under the mutex */
  bool cancel_sent;     /* to this session: what the request hits is uncertain, so the session is not used again */
  ldx_server_info info; /* of the session; its thread's */
  pthread_cond_t work;  /* of a worker: there is a job, or the end; these four under engine.mutex */
  bool idle;            /* it waits, or is about to, and nobody has called it */
  bool connected;       /* it has a session */
  int session_number;   /* of the last one; its thread's */
  bool transacts;       /* its thread's: the session has a transaction open */
  double barred_until;  /* by the clock: it could not get a session, and leaves the jobs to those that have one */
  ldx_engine *engine;
  pthread_t thread;
  ldx_random random; /* its thread's */
} seat;

struct ldx_context {
  ldx_job *job;
  ldx_engine *engine;
  atomic_bool cancelled, over_budget;
  /* under engine.mutex */
  seat *seat;                  /* who runs it; NULL while it is queued */
  event_node *progress_queued; /* its PROGRESS event that nobody has polled yet: the next one takes its place */
  event_node done;             /* so that DONE cannot fail */
  bool handed_back;            /* for want of a session, and that was told */
  bool more;                   /* a batch of rows was taken, the next one is wanted */
  bool gave_rows;              /* some were handed over: it cannot be tried again */
  size_t notices_size;         /* of notices that nobody has polled yet */
  size_t notices_left_out;     /* for want of room, and that is still to be told */
  /* under seat.mutex */
  int64_t operation;     /* 0: not running on the server */
  int statement;         /* counts the times it was set: what was seen of an earlier statement is of no interest */
  double started_at;     /* of the statement */
  double draining_since; /* 0: it does not */
  double queued_since;   /* likewise */
  int64_t blocker_pid;   /* the process in the way, as last seen; 0: none */
  double blocked_since;  /* by the same, or since it was last told to go */
  double cancel_sent_at;
  ldx_progress progress; /* as last seen */
  /* its worker's */
  double silent_since; /* by ldx_clock_now: of the silence that has been told; 0: there is none */
  /* the owner's */
  ldx_context *previous, *next; /* all jobs not yet given back */
};

typedef struct job_queue {
  ldx_job *first, *last;
} job_queue;

struct ldx_engine {
  const ldx_driver *driver;
  ldx_arena *arena; /* holds the strings of `target` */
  ldx_target target;

  pthread_mutex_t mutex;
  pthread_cond_t sleep; /* a sleeper is to look whether it was cancelled */
  pthread_cond_t watch; /* something for the watcher */
  job_queue jobs, watcher_jobs;
  event_node *first_event, *last_event;
  int wake[2]; /* a pipe that holds a byte while there are events */
  bool stopping, watcher_stopping;
  int sessions; /* that were opened */
  _Atomic double
      lock_until; /* by ldx_clock_boot: until when the run lock is certainly ours; infinite where none was taken */
  atomic_bool lock_held; /* the watcher's to change: it has the run lock, or may still find that nobody took it */
  atomic_bool closing;   /* from the owner, for a watcher that connects on nobody's behalf */
  bool watch_changed;    /* a statement began, or something was cancelled */
  _Atomic double unanswered_since; /* by ldx_clock_now: of what the watcher asks about steps; 0: the server answers */

  size_t worker_count;
  seat *workers;
  seat watcher;

  /* the watcher's */
  double held_at; /* by ldx_clock_boot: when it was last renewed, or that was tried */

  /* the owner's */
  ldx_context *contexts;
  size_t pending;
  uint64_t last_id;
};

/* --- queue.c: engine.mutex is held by the caller for those marked * ------------------------------------------------ */

void ldx_queue_push(job_queue *queue, ldx_job *job);         /* * */
void ldx_queue_push_front(job_queue *queue, ldx_job *job);   /* * */
ldx_job *ldx_queue_pop(job_queue *queue);                    /* * NULL if empty */
bool ldx_queue_remove(job_queue *queue, const ldx_job *job); /* * false: not in it */

/* For any thread. `text`, `error` and `progress` are copied and may be NULL. */
void ldx_event_post(ldx_engine *engine, ldx_event_kind kind, ldx_context *context, const char *text,
                    const ldx_error *error, const ldx_progress *progress, int attempt, double delay);
void ldx_event_post_done(ldx_context *context);                                           /* * */
void ldx_event_post_rows(ldx_context *context, ldx_arena *arena, const ldx_result *rows); /* * */
void ldx_event_post_notice(ldx_context *context, const ldx_notice *notice);               /* copied, or left out */
void ldx_event_post_left_out(ldx_context *context);        /* how many were left out, if any */
bool ldx_event_take(ldx_engine *engine, ldx_event *event); /* the owner; false: none */
void ldx_event_clear(ldx_engine *engine);                  /* the owner, when no other thread is left */

/* --- worker.c ------------------------------------------------------------------------------------------------------ */

void *ldx_worker_run(void *the_seat);
/* engine.mutex is held: calls a worker to the queue, if one is idle. */
void ldx_worker_call(ldx_engine *engine);
/* Then it is done also after it was cancelled: a transaction that nobody ends would be the next one's. */
bool ldx_job_ends_transaction(const ldx_job *job);

/* For a seat's own thread. A session that stands, opened if need be. */
bool ldx_seat_open(seat *s, ldx_error *error);
void ldx_seat_close(seat *s);
/* What runs on the session, so that others can look at it and cancel it; nothing; nothing and the job is DONE. */
void ldx_seat_begin(seat *s, ldx_context *context);
void ldx_seat_leave(seat *s);
void ldx_seat_end(seat *s, ldx_context *context);
/* For a seat's own thread, after attempt `tries` of its job failed as with `code`: waits for the next one. False: there
 * is none, for which job->error says why. */
bool ldx_seat_try_again(seat *s, ldx_job *job, ldx_error_code code, int tries, double begun);
/* Sleeps. False: `context` was cancelled meanwhile. */
bool ldx_engine_pause(ldx_engine *engine, ldx_context *context, double seconds);
/* For any thread that holds seat.mutex: asks the server to cancel what runs, if that is what `context` asks for. */
void ldx_seat_cancel(seat *s);

/* --- watcher.c ----------------------------------------------------------------------------------------------------- */

void *ldx_watcher_run(void *the_engine);
/* From any thread that holds no engine.mutex. */
void ldx_watcher_notify(ldx_engine *engine);

/* engine.c. False: the job would change something, and the target is only to be read; fills the job's error. */
bool ldx_engine_allows(const ldx_engine *engine, ldx_job *job);

#endif
