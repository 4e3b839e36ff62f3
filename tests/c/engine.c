/* The engine on the fake driver: events, retry, cancellation, budgets, the run lock, and all of it under stress. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "drivers/fake/fake.h"
#include "lunadex/engine.h"

/* What was seen of a run: one letter an event, s p n b r d, l for a lost lock. */
typedef struct fixture {
  const char *target;
  ldx_engine *engine;
  char letters[64];
  ldx_event event; /* the last one */
} fixture;

static const ldx_retry_policy quick = {.attempts = 5, .first_delay = 0.001, .factor = 2, .max_delay = 0.01};

/* Open ones: a test that fails leaves its engines to the next one's setup. */
static ldx_engine *open_engines[4];

static void open_engine_of(const ldx_driver *driver, fixture *f, const char *target, int jobs) {
  memset(f, 0, sizeof *f);
  ldx_error error;
  ldx_target where = {.url = target, .application_name = "test"};
  f->target = target;
  f->engine = ldx_engine_new(driver, &where, jobs, &error);
  assert_non_null(f->engine);
  int i = 0;
  while (open_engines[i]) i++;
  open_engines[i] = f->engine;
}

static void open_engine(fixture *f, const char *target, int jobs) {
  open_engine_of(&ldx_driver_fake, f, target, jobs);
}

static void free_engine(ldx_engine *engine) {
  for (int i = 0; i < 4; i++)
    if (open_engines[i] == engine) open_engines[i] = NULL;
  ldx_engine_free(engine);
}

static void close_engine(fixture *f) {
  free_engine(f->engine);
  assert_int_equal(ldx_fake_sessions(), 0);
  assert_int_equal(ldx_fake_violations(), 0);
}

static ldx_job *draft(ldx_job_kind kind) {
  ldx_job *job = calloc(1, sizeof *job);
  assert_non_null(job);
  job->kind = kind;
  job->retry = quick;
  job->arena = ldx_arena_new();
  job->statement.text = "SELECT 1";
  job->step = (ldx_step){.kind = LDX_STEP_DROP, .relation = {"public", "t"}, .name = "i"};
  return job;
}

static ldx_job *submit(fixture *f, ldx_job_kind kind) {
  ldx_job *job = draft(kind);
  ldx_engine_submit(f->engine, job);
  return job;
}

static void job_free(ldx_job *job) {
  if (job->kind == LDX_JOB_CATALOG) ldx_catalog_release(job->catalog);
  ldx_arena_free(job->arena);
  free(job);
}

/* Whether `letters` are these, whatever progress was seen in between. */
static bool saw(const fixture *f, const char *expected) {
  for (const char *p = f->letters; *p; p++)
    if (*p != 'p' && *p != *expected++) return false;
  return *expected == '\0';
}

static bool poll_once(fixture *f, double timeout) {
  static const char letter[] = {
      [LDX_EVENT_STARTED] = 's', [LDX_EVENT_PROGRESS] = 'p',  [LDX_EVENT_NOTE] = 'n',  [LDX_EVENT_RETRY] = 'r',
      [LDX_EVENT_DONE] = 'd',    [LDX_EVENT_LOCK_LOST] = 'l', [LDX_EVENT_NOTICE] = 'b'};
  if (!ldx_engine_poll(f->engine, timeout, &f->event)) return false;
  ldx_event_free(f->event.memory); /* no test reads what is in it */
  size_t length = strlen(f->letters);
  if (length + 1 < sizeof f->letters) f->letters[length] = letter[f->event.kind];
  return true;
}

/* Until an event of that kind; it fails after ten seconds. */
static void wait_for(fixture *f, ldx_event_kind kind) {
  double until = ldx_clock_now() + 10;
  do {
    assert_true(ldx_clock_now() < until);
    if (poll_once(f, 1) && f->event.kind == kind) return;
  } while (true);
}

/* Until the worker is in the driver: STARTED comes before that. */
static void wait_for_call(const fixture *f, const char *call) {
  for (int i = 0; i < 2000 && ldx_fake_count(f->target, call) == 0; i++) ldx_clock_sleep(0.005);
  assert_int_not_equal(ldx_fake_count(f->target, call), 0);
}

static void finish(fixture *f, const ldx_job *job) {
  do wait_for(f, LDX_EVENT_DONE);
  while (f->event.job != job);
}

/* Runs one job to its end. */
static ldx_job *run(fixture *f, ldx_job_kind kind) {
  ldx_job *job = submit(f, kind);
  finish(f, job);
  return job;
}

static int reset(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) free_engine(open_engines[i]);
  ldx_fake_reset();
  return 0;
}

/* --- plain runs ----------------------------------------------------------------------------------------------------- */

static void nothing_is_opened_before_the_first_job(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:lazy", 4);
  assert_false(poll_once(&f, 0.05));
  assert_int_equal(ldx_fake_count(f.target, "open"), 0);
  close_engine(&f);
}

static void every_kind_gives_its_result(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:kinds", 2);
  ldx_job *job = run(&f, LDX_JOB_CONNECT);
  assert_true(job->ok);
  assert_string_equal(job->info.product, "Fake");
  job_free(job);
  job = run(&f, LDX_JOB_CATALOG);
  assert_true(job->ok);
  assert_non_null(job->catalog);
  job_free(job);
  job = run(&f, LDX_JOB_QUERY);
  assert_true(job->ok);
  assert_string_equal(job->result->values[0].text, "SELECT 1");
  job_free(job);
  job = run(&f, LDX_JOB_STATUS);
  assert_string_equal(job->result->values[0].text, "status");
  job_free(job);
  job = run(&f, LDX_JOB_PERFORM);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  assert_int_equal(ldx_engine_pending(f.engine), 0);
  close_engine(&f);
}

static void jobs_one_after_the_other_share_a_session(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:share", 8);
  for (int i = 0; i < 500; i++) job_free(run(&f, LDX_JOB_QUERY));
  assert_int_equal(ldx_fake_count(f.target, "open"), 1);
  close_engine(&f);
}

static void events_come_in_order(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:order?perform=note(one),note(two),fail(deadlock),note(three)", 1);
  ldx_job *job = run(&f, LDX_JOB_PERFORM);
  assert_true(saw(&f, "snnrnd"));
  assert_true(job->ok);
  assert_int_equal(job->attempts, 2);
  assert_int_equal(job->error.code, LDX_ERROR_NONE);
  job_free(job);
  close_engine(&f);
}

static void what_is_said_beside_comes_in_order(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:beside?query=notice(one),note(two),notice(three);transact=notice(four)", 1);
  job_free(run(&f, LDX_JOB_QUERY));
  assert_true(saw(&f, "sbnbd"));
  job_free(run(&f, LDX_JOB_TRANSACT));
  assert_true(saw(&f, "sbnbdsbd"));
  close_engine(&f);
}

enum { FLOOD = 100000 };

/* Nobody takes one before the last was told. */
static ldx_job *submit_flood(fixture *f) {
  open_engine(f, "fake:flood?query=notice(water)*100000", 1);
  ldx_job *job = submit(f, LDX_JOB_QUERY);
  for (int i = 0; i < 6000 && ldx_fake_count(f->target, "query") <= FLOOD; i++) ldx_clock_sleep(0.005);
  assert_int_equal(ldx_fake_count(f->target, "query"), FLOOD + 1);
  return job;
}

static void a_flood_neither_waits_nor_piles_up(void **state) {
  (void)state;
  fixture f;
  ldx_job *job = submit_flood(&f);
  size_t told = 0, left_out = 0, bytes = 0;
  ldx_event event;
  do {
    assert_true(ldx_engine_poll(f.engine, 10, &event));
    if (event.kind == LDX_EVENT_NOTICE) {
      assert_int_equal(left_out, 0); /* that comes last */
      left_out = event.notice->left_out;
      if (!left_out) told++, bytes += strlen(event.notice->message);
    }
    ldx_event_free(event.memory);
  } while (event.kind != LDX_EVENT_DONE);
  assert_true(job->ok);
  assert_int_equal(told + left_out, FLOOD);
  assert_in_range(bytes, 1 << 12, 1 << 20);
  job_free(job);
  close_engine(&f);
}

static void an_end_with_a_flood_under_way_is_clean(void **state) {
  (void)state;
  fixture f;
  ldx_job *job = submit_flood(&f);
  close_engine(&f);
  job_free(job);
}

static void an_end_with_jobs_under_way_is_clean(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:end?query=hang*;perform=hang*", 3);
  ldx_job *jobs[12];
  for (int i = 0; i < 12; i++) jobs[i] = submit(&f, i % 2 ? LDX_JOB_QUERY : LDX_JOB_PERFORM);
  ldx_clock_sleep(0.05);
  close_engine(&f);
  for (int i = 0; i < 12; i++) job_free(jobs[i]);
}

/* --- retry ---------------------------------------------------------------------------------------------------------- */

static void a_step_is_tried_as_often_as_its_policy_says(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:often?perform=fail(lock_timeout)*", 1);
  ldx_job *job = run(&f, LDX_JOB_PERFORM);
  assert_false(job->ok);
  assert_int_equal(job->error.code, LDX_ERROR_LOCK_TIMEOUT);
  assert_int_equal(job->attempts, 5);
  assert_true(saw(&f, "srrrrd"));
  assert_true(ldx_fake_count(f.target, "open") <= 2); /* its own, and the watcher's if that was quick enough */
  job_free(job);
  close_engine(&f);
}

static void what_cannot_succeed_is_not_tried_again(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:never?perform=fail(duplicate_key)", 1);
  ldx_job *job = run(&f, LDX_JOB_PERFORM);
  assert_int_equal(job->error.code, LDX_ERROR_DUPLICATE_KEY);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  close_engine(&f);
}

static void a_lost_link_is_opened_again(void **state) {
  (void)state;
  fixture f;
  /* The server is away for two attempts after the loss. */
  open_engine(&f, "fake:lost?catalog=lose;open=ok,fail(connect)*2", 1);
  ldx_job *job = run(&f, LDX_JOB_CATALOG);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 4);
  assert_int_equal(ldx_fake_count(f.target, "open"), 4);
  assert_int_equal(ldx_fake_count(f.target, "catalog"), 2);
  job_free(job);
  close_engine(&f);
}

static void a_query_that_may_have_run_is_not_sent_again(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:query?query=lose,fail(serialization),ok", 1);
  ldx_job *job = run(&f, LDX_JOB_QUERY);
  assert_int_equal(job->error.code, LDX_ERROR_LINK_LOST);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  job = run(&f, LDX_JOB_QUERY);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 2);
  job_free(job);
  close_engine(&f);
}

static void a_session_that_died_at_rest_is_replaced_first(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:rest?alive=lose", 1);
  job_free(run(&f, LDX_JOB_QUERY));
  ldx_job *job = run(&f, LDX_JOB_QUERY);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 1);
  assert_int_equal(ldx_fake_count(f.target, "open"), 2);
  job_free(job);
  close_engine(&f);
}

static void the_first_connection_goes_by_its_policy(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:first?open=fail(connect)*3", 1);
  ldx_job *job = submit(&f, LDX_JOB_CONNECT);
  finish(&f, job);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 4);
  job_free(job);
  close_engine(&f);

  open_engine(&f, "fake:first2?open=fail(authentication)*", 1);
  job = run(&f, LDX_JOB_CONNECT);
  assert_int_equal(job->error.code, LDX_ERROR_AUTHENTICATION);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  close_engine(&f);
}

/* --- cancellation --------------------------------------------------------------------------------------------------- */

static void a_queued_job_never_begins(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:queued?query=hang", 1);
  ldx_job *first = submit(&f, LDX_JOB_QUERY), *second = submit(&f, LDX_JOB_QUERY);
  wait_for_call(&f, "query");
  ldx_engine_cancel(f.engine, second);
  finish(&f, second);
  assert_int_equal(second->error.code, LDX_ERROR_CANCELLED);
  assert_int_equal(second->attempts, 0);
  ldx_engine_cancel(f.engine, first);
  finish(&f, first);
  assert_int_equal(first->error.code, LDX_ERROR_CANCELLED);
  assert_int_equal(ldx_fake_count(f.target, "query"), 1);
  job_free(first);
  job_free(second);
  close_engine(&f);
}

static void a_running_query_is_cancelled_on_the_server(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:running?query=hang", 1);
  ldx_job *job = submit(&f, LDX_JOB_QUERY);
  wait_for_call(&f, "query");
  ldx_engine_cancel(f.engine, job);
  double began = ldx_clock_now();
  finish(&f, job);
  assert_true(ldx_clock_now() - began < 2);
  assert_int_equal(job->error.code, LDX_ERROR_CANCELLED);
  assert_true(ldx_fake_count(f.target, "cancel") >= 1);
  job_free(job);
  /* The session it went to is not used again. */
  job = run(&f, LDX_JOB_QUERY);
  assert_true(job->ok);
  assert_int_equal(ldx_fake_count(f.target, "open"), 2);
  job_free(job);
  close_engine(&f);
}

/* It would stay open, and be the next one's. */
static void a_transaction_is_ended_also_when_that_is_cancelled(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:ends?query=ok(0.2)", 1);
  job_free(run(&f, LDX_JOB_TRANSACT));
  ldx_job *query = submit(&f, LDX_JOB_QUERY), *end = draft(LDX_JOB_TRANSACT);
  wait_for_call(&f, "query");
  end->transition.what = LDX_TRANSACTION_ROLLBACK;
  ldx_engine_submit(f.engine, end);
  ldx_engine_cancel(f.engine, end);
  finish(&f, query);
  finish(&f, end);
  assert_true(end->ok);
  assert_int_equal(ldx_fake_count(f.target, "transact"), 2);
  job_free(query);
  job_free(end);
  close_engine(&f);
}

static void a_step_is_cancelled_on_the_server(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:step?perform=hang", 1);
  ldx_job *job = submit(&f, LDX_JOB_PERFORM);
  wait_for(&f, LDX_EVENT_PROGRESS);
  ldx_engine_cancel(f.engine, NULL);
  finish(&f, job);
  assert_int_equal(job->error.code, LDX_ERROR_CANCELLED);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  close_engine(&f);
}

static void a_delay_ends_with_cancellation(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:delay?perform=fail(deadlock)*", 1);
  ldx_job *job = calloc(1, sizeof *job);
  assert_non_null(job);
  job->kind = LDX_JOB_PERFORM;
  job->arena = ldx_arena_new();
  job->retry = (ldx_retry_policy){.attempts = 1000, .first_delay = 1000, .factor = 1, .max_delay = 1000};
  job->step = (ldx_step){.kind = LDX_STEP_DROP, .relation = {"public", "t"}, .name = "i"};
  ldx_engine_submit(f.engine, job);
  wait_for(&f, LDX_EVENT_RETRY);
  assert_int_equal(f.event.error.code, LDX_ERROR_DEADLOCK);
  assert_int_equal(f.event.attempt, 1);
  ldx_engine_cancel(f.engine, job);
  finish(&f, job);
  assert_int_equal(job->error.code, LDX_ERROR_CANCELLED);
  assert_true(job->attempts < 10);
  job_free(job);
  close_engine(&f);
}

static void on_signal(int signal) {
  (void)signal;
}

static void a_signal_ends_a_poll(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:signal", 1);
  struct sigaction before;
  struct sigaction action = {.sa_handler = on_signal};
  sigemptyset(&action.sa_mask);
  sigaction(SIGALRM, &action, &before);
  struct itimerspec soon = {.it_value = {.tv_nsec = 50000000}};
  timer_t timer;
  assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
  timer_settime(timer, 0, &soon, NULL);
  double began = ldx_clock_now();
  assert_false(poll_once(&f, 5));
  assert_true(ldx_clock_now() - began < 2);
  timer_delete(timer);
  sigaction(SIGALRM, &before, NULL);
  close_engine(&f);
}

/* --- budgets -------------------------------------------------------------------------------------------------------- */

static ldx_job *submit_with_budget(fixture *f, double lock_timeout, double drain_timeout) {
  ldx_job *job = calloc(1, sizeof *job);
  assert_non_null(job);
  job->kind = LDX_JOB_PERFORM;
  job->arena = ldx_arena_new();
  job->retry = (ldx_retry_policy){.attempts = 2, .first_delay = 0.001, .factor = 1, .max_delay = 1};
  job->step = (ldx_step){.kind = LDX_STEP_BUILD,
                         .relation = {"public", "t"},
                         .name = "i",
                         .lock_timeout = lock_timeout,
                         .drain_timeout = drain_timeout};
  ldx_engine_submit(f->engine, job);
  return job;
}

static void the_wait_for_the_lock_is_limited(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:budget?perform=hang,ok;watch=waiting", 1);
  ldx_job *job = submit_with_budget(&f, 0.15, 0);
  wait_for(&f, LDX_EVENT_RETRY);
  assert_int_equal(f.event.error.code, LDX_ERROR_LOCK_TIMEOUT);
  assert_string_equal(f.event.error.detail, "blocked by pid 4711 somebody");
  finish(&f, job);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 2);
  job_free(job);
  close_engine(&f);
}

static void work_is_not_limited(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:work?perform=ok(1.5);watch=waiting,working", 1);
  ldx_job *job = submit_with_budget(&f, 0.3, 0.1);
  finish(&f, job);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  close_engine(&f);
}

static void the_wait_after_the_work_is_limited(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:drain?perform=hang,ok;watch=working,draining", 1);
  ldx_job *job = submit_with_budget(&f, 5, 0.15);
  wait_for(&f, LDX_EVENT_RETRY);
  assert_int_equal(f.event.error.code, LDX_ERROR_LOCK_TIMEOUT);
  finish(&f, job);
  job_free(job);
  close_engine(&f);
}

static void nothing_is_concluded_from_a_look_that_fails(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:blind?perform=ok(0.6);watch=fail(server)*", 1);
  ldx_job *job = submit_with_budget(&f, 0.1, 0.1);
  finish(&f, job);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  close_engine(&f);
}

static void progress_is_told_when_it_changes(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:progress?perform=ok(0.5);watch=waiting*2,draining", 1);
  ldx_job *job = submit_with_budget(&f, 0, 0);
  finish(&f, job);
  assert_string_equal(f.letters, "sppd");
  job_free(job);
  close_engine(&f);
}

/* --- the run lock --------------------------------------------------------------------------------------------------- */

static void the_lock_keeps_others_out(void **state) {
  (void)state;
  fixture a, b;
  open_engine(&a, "fake:lock", 1);
  open_engine(&b, "fake:lock", 1);
  ldx_job *job = run(&a, LDX_JOB_LOCK);
  assert_true(job->ok);
  job_free(job);
  job = run(&a, LDX_JOB_LOCK); /* once more is no matter */
  assert_true(job->ok);
  job_free(job);
  job = run(&b, LDX_JOB_LOCK);
  assert_int_equal(job->error.code, LDX_ERROR_LOCK_HELD);
  job_free(job);
  job_free(run(&a, LDX_JOB_UNLOCK));
  job = run(&b, LDX_JOB_LOCK);
  assert_true(job->ok);
  job_free(job);
  free_engine(a.engine);
  close_engine(&b);
}

static void a_lost_lock_is_told_once(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:lostlock?alive=ok*2,lose", 1);
  ldx_job *job = run(&f, LDX_JOB_LOCK);
  assert_true(job->ok);
  job_free(job);
  wait_for(&f, LDX_EVENT_LOCK_LOST);
  assert_null(f.event.job);
  assert_int_equal(f.event.error.code, LDX_ERROR_LINK_LOST);
  assert_false(poll_once(&f, 1.5));
  job = run(&f, LDX_JOB_LOCK); /* it can be taken again */
  assert_true(job->ok);
  job_free(job);
  close_engine(&f);
}

static void a_lock_lost_while_watching_is_told(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:lostwatch?perform=ok(0.5);watch=working,lose,working", 1);
  job_free(run(&f, LDX_JOB_LOCK));
  ldx_job *job = submit(&f, LDX_JOB_PERFORM);
  wait_for(&f, LDX_EVENT_LOCK_LOST);
  finish(&f, job);
  assert_true(job->ok);
  job_free(job);
  close_engine(&f);
}

static void unlocking_is_not_cancelled(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:unlock", 1);
  job_free(run(&f, LDX_JOB_LOCK));
  ldx_job *job = submit(&f, LDX_JOB_UNLOCK);
  ldx_engine_cancel(f.engine, NULL);
  finish(&f, job);
  assert_true(job->ok);
  job_free(job);
  close_engine(&f);
}

static void a_lock_is_asked_for_again(void **state) {
  (void)state;
  fixture f;
  open_engine(&f, "fake:locking?open=fail(connect)*2;lock=lose,fail(lock_held),ok", 1);
  ldx_job *job = run(&f, LDX_JOB_LOCK); /* whoever has it after a lost link may be ourselves */
  assert_true(job->ok);
  assert_int_equal(job->attempts, 5);
  assert_true(saw(&f, "srrrrd"));
  job_free(job);
  close_engine(&f);
  open_engine(&f, "fake:notlocking?lock=fail(lock_held)*", 1);
  job = run(&f, LDX_JOB_LOCK);
  assert_int_equal(job->error.code, LDX_ERROR_LOCK_HELD);
  assert_int_equal(job->attempts, 1);
  job_free(job);
  close_engine(&f);
}

static void a_lock_that_cannot_be_kept_is_given_back(void **state) {
  (void)state;
  fixture f;
  open_engine_of(&ldx_driver_fake_lease, &f, "fake:unkept?hold=fail(connect)*", 1);
  ldx_job *job = run(&f, LDX_JOB_LOCK);
  assert_int_equal(job->error.code, LDX_ERROR_CONNECT);
  assert_int_equal(ldx_fake_count(f.target, "unlock"), quick.attempts);
  job_free(job);
  close_engine(&f);
}

/* Its first lease is over before anybody writes. */
static ldx_job *write_in_doubt(fixture *f, const char *target) {
  open_engine_of(&ldx_driver_fake_lease, f, target, 1);
  ldx_job *job = run(f, LDX_JOB_LOCK);
  assert_true(job->ok);
  job_free(job);
  ldx_clock_sleep(0.1);
  return submit(f, LDX_JOB_PERFORM);
}

static void nothing_is_written_while_a_lease_is_in_doubt(void **state) {
  (void)state;
  fixture f;
  ldx_job *job = write_in_doubt(&f, "fake:doubt?hold=good(0.05),fail(connect),good(60);perform=write");
  finish(&f, job);
  assert_true(job->ok);
  assert_int_equal(job->attempts, 1);
  assert_true(saw(&f, "sdsnnd")); /* that it waits, and that it goes on */
  assert_int_equal(ldx_fake_count(f.target, "hold"), 3);
  job_free(job);
  close_engine(&f);
}

static void a_lease_that_somebody_took_is_lost(void **state) {
  (void)state;
  fixture f;
  ldx_job *job = write_in_doubt(&f, "fake:taken?hold=good(0.05),fail(lock_lost);perform=write");
  wait_for(&f, LDX_EVENT_LOCK_LOST);
  finish(&f, job);
  assert_int_equal(job->error.code, LDX_ERROR_LOCK_LOST);
  job_free(job);
  close_engine(&f);
}

static void whoever_waits_for_a_lease_can_be_cancelled(void **state) {
  (void)state;
  fixture f;
  ldx_job *job = write_in_doubt(&f, "fake:waits?hold=good(0.05),fail(connect)*;perform=write");
  wait_for(&f, LDX_EVENT_NOTE);
  ldx_job *again = submit(&f, LDX_JOB_LOCK); /* neither can it be said to be held */
  ldx_engine_cancel(f.engine, NULL);
  finish(&f, job);
  assert_int_equal(job->error.code, LDX_ERROR_CANCELLED);
  while (ldx_engine_pending(f.engine) > 0) poll_once(&f, 1);
  assert_int_equal(again->error.code, LDX_ERROR_CANCELLED);
  job_free(job);
  job_free(again);
  close_engine(&f);
}

/* Each request takes longer than the lease is to wait. */
static void a_lease_is_kept_while_cancel_requests_take_long(void **state) {
  (void)state;
  fixture f;
  ldx_job *jobs[2];
  open_engine_of(&ldx_driver_fake_lease, &f, "fake:slow?hold=good(60);perform=hang*;cancel=deaf(1.1)*2", 2);
  job_free(run(&f, LDX_JOB_LOCK));
  for (size_t i = 0; i < 2; i++) jobs[i] = submit(&f, LDX_JOB_PERFORM);
  while (ldx_fake_count(f.target, "perform") < 2) poll_once(&f, 0.01);
  ldx_engine_cancel(f.engine, NULL);
  while (ldx_engine_pending(f.engine) > 0) poll_once(&f, 1);
  assert_true(ldx_fake_count(f.target, "hold") >= 3); /* taken, and renewed after each of the two */
  for (size_t i = 0; i < 2; i++) {
    assert_int_equal(jobs[i]->error.code, LDX_ERROR_CANCELLED);
    job_free(jobs[i]);
  }
  close_engine(&f);
}

/* --- stress --------------------------------------------------------------------------------------------------------- */

static uint32_t seed = 20240229;

static uint32_t draw(uint32_t below) {
  seed = seed * 1664525u + 1013904223u;
  return (seed >> 8) % below;
}

/* Thousands of jobs that fail, hang, lose their link and are cancelled at random: each is DONE once, nothing leaks. */
static void every_job_is_done_exactly_once(void **state) {
  (void)state;
  enum { JOBS = 3000 };
  static ldx_job *jobs[JOBS];
  static int done[JOBS];
  static const ldx_job_kind kinds[] = {LDX_JOB_PERFORM, LDX_JOB_QUERY, LDX_JOB_CATALOG, LDX_JOB_STATUS,
                                       LDX_JOB_CONNECT, LDX_JOB_LOCK,  LDX_JOB_UNLOCK,  LDX_JOB_PERFORM};
  memset(done, 0, sizeof done);
  fixture f;
  open_engine(&f,
              "fake:stress?perform=ok*7,fail(deadlock)*3,lose,ok(0.002)*20,note(x),fail(duplicate_key)*4,ok*300,lose*3;"
              "query=ok*5,ok(0.003)*9,fail(serialization)*2,lose*2,ok*100,lose;"
              "open=ok*8,fail(connect)*3,ok*10,fail(connect)*2;alive=ok*40,lose,ok*100,lose;"
              "catalog=ok*3,lose,ok*50,fail(lock_timeout)*3;watch=working*3,lose,waiting*4,working*9,lose",
              6);
  size_t left = 0;
  int submitted = 0, given_back = 0;
  double until = ldx_clock_now() + 60;
  while (given_back < JOBS) {
    assert_true(ldx_clock_now() < until);
    for (uint32_t n = draw(20); n > 0 && submitted < JOBS; n--) {
      ldx_job *job = submit(&f, kinds[draw(8)]);
      assert_int_equal(job->id, (uint64_t)submitted + 1);
      jobs[submitted++] = job;
      left++;
    }
    if (draw(4) == 0 && submitted > 0) {
      uint32_t i = draw((uint32_t)submitted);
      if (!done[i]) ldx_engine_cancel(f.engine, jobs[i]);
    }
    if (draw(200) == 0) ldx_engine_cancel(f.engine, NULL);
    while (poll_once(&f, draw(3) ? 0 : 0.002)) {
      if (f.event.kind != LDX_EVENT_DONE) {
        assert_true(f.event.kind == LDX_EVENT_LOCK_LOST || !done[f.event.job->id - 1]);
        continue;
      }
      size_t i = (size_t)f.event.job->id - 1;
      assert_int_equal(done[i]++, 0);
      assert_true(jobs[i]->ok == (jobs[i]->error.code == LDX_ERROR_NONE));
      left--;
      given_back++;
      assert_int_equal(ldx_engine_pending(f.engine), left);
    }
  }
  assert_false(poll_once(&f, 0.05) && f.event.kind == LDX_EVENT_DONE);
  close_engine(&f);
  for (int i = 0; i < JOBS; i++) job_free(jobs[i]);
}

/* Engines that end at any moment. */
static void an_end_at_any_moment_is_clean(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    fixture f;
    open_engine(&f, "fake:moment?perform=ok(0.001),fail(deadlock),hang*2,ok*5,hang*;query=ok*9,hang*", 3);
    ldx_job *jobs[20];
    for (int i = 0; i < 20; i++) jobs[i] = submit(&f, i % 3 ? LDX_JOB_PERFORM : i % 2 ? LDX_JOB_QUERY : LDX_JOB_LOCK);
    double until = ldx_clock_now() + draw(10) / 1000.0;
    while (ldx_clock_now() < until) poll_once(&f, 0.001);
    close_engine(&f);
    for (int i = 0; i < 20; i++) job_free(jobs[i]);
    ldx_fake_reset();
  }
}

static void wrong_numbers_of_workers_are_refused(void **state) {
  (void)state;
  ldx_error error;
  ldx_target target = {.url = "fake:none"};
  assert_null(ldx_engine_new(&ldx_driver_fake, &target, 0, &error));
  assert_int_equal(error.code, LDX_ERROR_USAGE);
  assert_null(ldx_engine_new(&ldx_driver_fake, &target, 100000, &error));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(nothing_is_opened_before_the_first_job, reset),
      cmocka_unit_test_setup(every_kind_gives_its_result, reset),
      cmocka_unit_test_setup(jobs_one_after_the_other_share_a_session, reset),
      cmocka_unit_test_setup(events_come_in_order, reset),
      cmocka_unit_test_setup(what_is_said_beside_comes_in_order, reset),
      cmocka_unit_test_setup(a_flood_neither_waits_nor_piles_up, reset),
      cmocka_unit_test_setup(an_end_with_a_flood_under_way_is_clean, reset),
      cmocka_unit_test_setup(an_end_with_jobs_under_way_is_clean, reset),
      cmocka_unit_test_setup(a_step_is_tried_as_often_as_its_policy_says, reset),
      cmocka_unit_test_setup(what_cannot_succeed_is_not_tried_again, reset),
      cmocka_unit_test_setup(a_lost_link_is_opened_again, reset),
      cmocka_unit_test_setup(a_query_that_may_have_run_is_not_sent_again, reset),
      cmocka_unit_test_setup(a_session_that_died_at_rest_is_replaced_first, reset),
      cmocka_unit_test_setup(the_first_connection_goes_by_its_policy, reset),
      cmocka_unit_test_setup(a_queued_job_never_begins, reset),
      cmocka_unit_test_setup(a_running_query_is_cancelled_on_the_server, reset),
      cmocka_unit_test_setup(a_transaction_is_ended_also_when_that_is_cancelled, reset),
      cmocka_unit_test_setup(a_step_is_cancelled_on_the_server, reset),
      cmocka_unit_test_setup(a_delay_ends_with_cancellation, reset),
      cmocka_unit_test_setup(a_signal_ends_a_poll, reset),
      cmocka_unit_test_setup(the_wait_for_the_lock_is_limited, reset),
      cmocka_unit_test_setup(work_is_not_limited, reset),
      cmocka_unit_test_setup(the_wait_after_the_work_is_limited, reset),
      cmocka_unit_test_setup(nothing_is_concluded_from_a_look_that_fails, reset),
      cmocka_unit_test_setup(progress_is_told_when_it_changes, reset),
      cmocka_unit_test_setup(the_lock_keeps_others_out, reset),
      cmocka_unit_test_setup(a_lost_lock_is_told_once, reset),
      cmocka_unit_test_setup(a_lock_lost_while_watching_is_told, reset),
      cmocka_unit_test_setup(unlocking_is_not_cancelled, reset),
      cmocka_unit_test_setup(a_lock_is_asked_for_again, reset),
      cmocka_unit_test_setup(a_lock_that_cannot_be_kept_is_given_back, reset),
      cmocka_unit_test_setup(nothing_is_written_while_a_lease_is_in_doubt, reset),
      cmocka_unit_test_setup(a_lease_that_somebody_took_is_lost, reset),
      cmocka_unit_test_setup(whoever_waits_for_a_lease_can_be_cancelled, reset),
      cmocka_unit_test_setup(a_lease_is_kept_while_cancel_requests_take_long, reset),
      cmocka_unit_test_setup(every_job_is_done_exactly_once, reset),
      cmocka_unit_test_setup(an_end_at_any_moment_is_clean, reset),
      cmocka_unit_test_setup(wrong_numbers_of_workers_are_refused, reset),
  };
  return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
