#include "drivers/fake/fake.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "drivers/fake/store.h"
#include "model/catalog.h"

static const char *const calls[] = {"open",   "alive", "catalog", "resolve", "perform", "watch", "measure", "lock",
                                    "unlock", "hold",  "query",   "status",  "cancel",  "close", "transact"};
enum { CALLS = sizeof calls / sizeof calls[0], TEXT = 96, MOST_TARGETS = 256 };

/* A target: how far its script has come. */
typedef struct script {
  char *target;
  int counts[CALLS];
  const char *next[CALLS]; /* NULL: not looked for yet */
  int repeated[CALLS];     /* of the action at `next` */
  int64_t last_pid;
  ldx_session *lock_holder;
  ldx_fake_store *store; /* NULL: all is well, whatever it is about */
} script;

struct ldx_session {
  script *script;
  const atomic_bool *stop; /* while it is opened; may be NULL */
  int64_t pid;
  bool dead;
  bool cancelled;
  bool busy; /* a call is under way */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* for all that follows, and for sessions */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static script *scripts[MOST_TARGETS];
static int script_count, session_count, violation_count;

/* --- scripts -------------------------------------------------------------------------------------------------------- */

typedef struct action {
  char verb[TEXT], argument[TEXT];
} action;

static int call_number(const char *call) {
  for (int i = 0; i < CALLS; i++)
    if (strcmp(calls[i], call) == 0) return i;
  fprintf(stderr, "fake driver: no call named %s\n", call);
  abort();
}

/* The list of actions of a call, or whatever else the script says by that word; "" if it does not. */
static const char *actions_of(const script *s, const char *call) {
  const char *p = strchr(s->target, '?');
  size_t length = strlen(call);
  while (p) {
    p++;
    if (strncmp(p, call, length) == 0 && p[length] == '=') return p + length + 1;
    p = strchr(p, ';');
  }
  return "";
}

static const char *read_text(const char *p, const char *end_at, char *to) {
  size_t length = strcspn(p, end_at);
  snprintf(to, TEXT, "%.*s", (int)length, p);
  return p + length;
}

static script *script_of(const char *target) {
  for (int i = 0; i < script_count; i++)
    if (strcmp(scripts[i]->target, target) == 0) return scripts[i];
  if (script_count == MOST_TARGETS) abort();
  script *new = calloc(1, sizeof *new);
  char *copy = strdup(target);
  if (!new || !copy) abort();
  new->target = copy;
  if (*actions_of(new, "tables")) {
    char tables[TEXT], duplicated[TEXT];
    read_text(actions_of(new, "tables"), ";", tables);
    read_text(actions_of(new, "duplicates"), ";", duplicated);
    new->store = ldx_fake_store_new(tables, duplicated);
  }
  return scripts[script_count++] = new;
}

/* The next action of a call; `last_stays` repeats the last one of the list. */
static action take(script *s, const char *call, bool last_stays) {
  int number = call_number(call);
  s->counts[number]++;
  action a = {.verb = "ok", .argument = ""};
  if (!s->next[number]) s->next[number] = actions_of(s, call);
  const char *p = s->next[number];
  if (!*p || *p == ';') return a;
  p = read_text(p, "(*,;", a.verb);
  if (*p == '(') {
    p = read_text(p + 1, ")", a.argument);
    if (*p) p++;
  }
  int times = 1;
  if (*p == '*') {
    char *end;
    times = (int)strtol(p + 1, &end, 10);
    if (end == p + 1) times = -1; /* for ever */
    p = end;
  }
  if (times < 0 || ++s->repeated[number] < times) return a;
  if (last_stays && *p != ',') return a;
  s->repeated[number] = 0;
  s->next[number] = *p == ',' ? p + 1 : p;
  return a;
}

static ldx_error_code code_named(const char *name) {
#define X(id, text, retry)                                                                                             \
  if (strcmp(name, text) == 0) return LDX_ERROR_##id;
  LDX_ERROR_CODES(X)
#undef X
  fprintf(stderr, "fake driver: no error named %s\n", name);
  abort();
}

/* --- calls ---------------------------------------------------------------------------------------------------------- */

/* Waits; true if it was cancelled meanwhile. The mutex is held. */
static bool wait_cancelled(ldx_session *session, double seconds) {
  double until = ldx_clock_now() + seconds;
  while (!session->cancelled && ldx_clock_now() < until) {
    if (session->stop && atomic_load(session->stop)) return true;
    /* The condition is on the real-time clock; short waits make that irrelevant. */
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 5000000L;
    if (soon.tv_nsec >= 1000000000L) {
      soon.tv_sec++;
      soon.tv_nsec -= 1000000000L;
    }
    pthread_cond_timedwait(&changed, &mutex, &soon);
  }
  return session->cancelled;
}

static bool stopped(ldx_context *context, ldx_error *error) {
  if (context && ldx_context_over_budget(context) && !ldx_context_cancelled(context))
    return ldx_error_set(error, LDX_ERROR_LOCK_TIMEOUT, "over budget");
  return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
}

/* Does as the action says. The mutex is held. */
static bool act(ldx_session *session, const action *a, ldx_context *context, ldx_error *error) {
  if (session->dead) return ldx_error_set(error, LDX_ERROR_LINK_LOST, "the session is dead");
  if (strcmp(a->verb, "fail") == 0) return ldx_error_set(error, code_named(a->argument), "scripted %s", a->argument);
  if (strcmp(a->verb, "lose") == 0) {
    session->dead = true;
    return ldx_error_set(error, LDX_ERROR_LINK_LOST, "scripted loss of the link");
  }
  if (strcmp(a->verb, "deaf") == 0) {
    double seconds = atof(a->argument);
    pthread_mutex_unlock(&mutex);
    ldx_clock_sleep(seconds);
    pthread_mutex_lock(&mutex);
    return true;
  }
  bool hang = strcmp(a->verb, "hang") == 0;
  if (!hang && strcmp(a->verb, "ok") != 0) {
    fprintf(stderr, "fake driver: no action named %s\n", a->verb);
    abort();
  }
  if (!wait_cancelled(session, hang ? 1e9 : atof(a->argument))) return true;
  return stopped(context, error);
}

static void enter(ldx_session *session) {
  pthread_mutex_lock(&mutex);
  if (session->busy) violation_count++;
  session->busy = true;
  session->cancelled = false; /* a request that comes between two calls hits nothing */
}

static void leave(ldx_session *session) {
  session->busy = false;
  pthread_mutex_unlock(&mutex);
}

static bool run(ldx_session *session, const char *call, ldx_error *error) {
  enter(session);
  action a = take(session->script, call, false);
  bool ok = act(session, &a, NULL, error);
  leave(session);
  return ok;
}

/* The same for a call that tells of itself. */
static bool run_aloud(ldx_session *session, const char *call, ldx_context *context, ldx_error *error) {
  for (;;) {
    enter(session);
    action a = take(session->script, call, false);
    bool note = strcmp(a.verb, "note") == 0, notice = strcmp(a.verb, "notice") == 0;
    bool write = strcmp(a.verb, "write") == 0;
    bool ok = note || notice || write || act(session, &a, context, error);
    leave(session);
    if (write) return ldx_context_locked(context, error);
    if (!note && !notice) return ok;
    if (note) ldx_context_note(context, "%s", a.argument);
    if (notice) ldx_context_notice(context, &(ldx_notice){.severity = "NOTICE", .message = a.argument});
  }
}

static ldx_session *fake_open(const ldx_target *target, ldx_server_info *info, ldx_error *error) {
  ldx_session *session = calloc(1, sizeof *session);
  if (!session) abort();
  pthread_mutex_lock(&mutex);
  session->script = script_of(target->url);
  session->stop = target->stop;
  action a = take(session->script, "open", false);
  bool ok = act(session, &a, NULL, error);
  if (ok) {
    session_count++;
    session->pid = ++session->script->last_pid;
    session->stop = NULL;
  }
  pthread_mutex_unlock(&mutex);
  if (!ok) {
    free(session);
    return NULL;
  }
  if (info) {
    memset(info, 0, sizeof *info);
    snprintf(info->product, sizeof info->product, "Fake");
    snprintf(info->version, sizeof info->version, "1.0");
    info->version_number = 10000;
    snprintf(info->display, sizeof info->display, "fake:");
    snprintf(info->identity, sizeof info->identity, "%p", (void *)session->script);
  }
  return session;
}

static void fake_close(ldx_session *session) {
  pthread_mutex_lock(&mutex);
  if (session->busy) violation_count++;
  script *s = session->script;
  s->counts[call_number("close")]++;
  if (s->lock_holder == session) s->lock_holder = NULL;
  session_count--;
  pthread_mutex_unlock(&mutex);
  free(session);
}

static bool fake_alive(ldx_session *session) {
  ldx_error ignored;
  enter(session);
  action a = take(session->script, "alive", false);
  bool ok = act(session, &a, NULL, &ignored);
  leave(session);
  return ok;
}

static void fake_cancel(ldx_session *session) {
  pthread_mutex_lock(&mutex);
  action a = take(session->script, "cancel", false);
  if (strcmp(a.verb, "deaf") == 0)
    act(session, &a, NULL, NULL);
  else
    session->cancelled = true;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static ldx_catalog *fake_catalog(ldx_session *session, ldx_context *context, ldx_error *error) {
  (void)context;
  if (!run(session, "catalog", error)) return NULL;
  if (session->script->store) {
    pthread_mutex_lock(&mutex);
    ldx_catalog *stored = ldx_fake_store_catalog(session->script->store);
    pthread_mutex_unlock(&mutex);
    return stored;
  }
  static const ldx_dialect dialect = {.name = "fake"};
  ldx_catalog *catalog = ldx_catalog_new(&dialect);
  ldx_catalog_finish(catalog);
  return catalog;
}

static bool fake_resolve(ldx_session *session, ldx_catalog *catalog, ldx_declarations *set, ldx_context *context,
                         ldx_error *error) {
  (void)context;
  if (!run(session, "resolve", error)) return false;
  for (size_t i = 0; i < ldx_declarations_count(set); i++) {
    ldx_declared *declared = ldx_declarations_at(set, i);
    declared->relation = ldx_catalog_relation(catalog, declared->definition->relation);
    declared->canonical = declared->definition;
    declared->fingerprint = ldx_definition_fingerprint(declared->canonical);
    declared->resolved = declared->relation != NULL;
    if (declared->resolved) continue;
    declared->error = LDX_ARENA_NEW(ldx_declarations_arena(set), ldx_error, 1);
    ldx_error_set(declared->error, LDX_ERROR_UNDEFINED, "relation %s does not exist",
                  declared->definition->relation.name);
  }
  return true;
}

static bool fake_perform(ldx_session *session, const ldx_step *step, ldx_context *context, ldx_error *error) {
  bool ok = true, work = true;
  ldx_fake_store *store = session->script->store;
  enter(session);
  if (store) ok = ldx_fake_store_begin(store, step, &work, error);
  leave(session);
  if (!ok || !work) return ok;
  if (step->kind == LDX_STEP_BUILD) ldx_context_builds(context);
  ldx_context_running(context, session->pid);
  ok = run_aloud(session, "perform", context, error);
  ldx_context_running(context, 0);
  enter(session);
  if (store) ok = ldx_fake_store_end(store, step, ok, error) && ok;
  leave(session);
  return ok;
}

static char *fake_describe(ldx_arena *arena, const ldx_step *step) {
  return ldx_arena_printf(arena, "step %d on %s", (int)step->kind, step->name);
}

static bool fake_watch(ldx_session *session, ldx_watched *steps, size_t count, ldx_error *error) {
  bool ok = true;
  enter(session);
  action a = take(session->script, "watch", true);
  bool waiting = strcmp(a.verb, "waiting") == 0, working = strcmp(a.verb, "working") == 0;
  bool draining = strcmp(a.verb, "draining") == 0;
  if (!waiting && !working && !draining) ok = act(session, &a, NULL, error);
  double round = session->script->counts[call_number("watch")];
  leave(session);
  for (size_t i = 0; ok && i < count; i++) {
    ldx_progress *progress = &steps[i].progress;
    memset(progress, 0, sizeof *progress);
    progress->started = !waiting;
    progress->draining = draining;
    snprintf(progress->phase, sizeof progress->phase, "%.60s", waiting || draining ? a.verb : "working");
    if (working) progress->done = round;
    if (waiting) {
      progress->blocker_pid = 4711;
      snprintf(progress->blocker, sizeof progress->blocker, "pid 4711 somebody");
    }
  }
  return ok;
}

static bool fake_measure(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  for (size_t i = 0; i < count; i++) items[i].rows = (double)i;
  return run(session, "measure", error);
}

static bool fake_lock(ldx_session *session, ldx_error *error) {
  if (!run(session, "lock", error)) return false;
  pthread_mutex_lock(&mutex);
  bool free_ = !session->script->lock_holder || session->script->lock_holder == session;
  if (free_) session->script->lock_holder = session;
  pthread_mutex_unlock(&mutex);
  return free_ || ldx_error_set(error, LDX_ERROR_LOCK_HELD, "somebody else has it");
}

static bool fake_unlock(ldx_session *session, ldx_error *error) {
  if (!run(session, "unlock", error)) return false;
  pthread_mutex_lock(&mutex);
  if (session->script->lock_holder == session) session->script->lock_holder = NULL;
  pthread_mutex_unlock(&mutex);
  return true;
}

static bool fake_hold(ldx_session *session, double *good_for, ldx_error *error) {
  bool ok = true;
  enter(session);
  action a = take(session->script, "hold", true);
  bool good = strcmp(a.verb, "good") == 0;
  if (good)
    *good_for = atof(a.argument);
  else
    ok = act(session, &a, NULL, error);
  leave(session);
  return ok;
}

/* One row: the text, and the number of parameters. */
static ldx_result *result_of(ldx_arena *arena, const char *text, size_t parameters) {
  static const char *const columns[] = {"text", "parameters"};
  const char *texts[] = {ldx_arena_strdup(arena, text ? text : ""), ldx_arena_printf(arena, "%zu", parameters)};
  return ldx_result_of(arena, columns, "si", texts, 1, "FAKE");
}

/* In batches there are two, each of that one row, and nothing is left for the result. */
static ldx_result *fake_query(ldx_session *session, const ldx_statement *statement, ldx_context *context,
                              ldx_arena *arena, ldx_error *error) {
  if (!run_aloud(session, "query", context, error)) return NULL;
  for (int i = 0; statement->batch && i < 2; i++) {
    ldx_arena *own = ldx_arena_new();
    if (!ldx_context_rows(context, own, result_of(own, statement->text, statement->parameter_count), error))
      return NULL;
  }
  ldx_result *result = result_of(arena, statement->text, statement->parameter_count);
  if (statement->batch) result->row_count = 0;
  return result;
}

static bool fake_transact(ldx_session *session, ldx_transition *transition, ldx_context *context, ldx_arena *arena,
                          ldx_error *error) {
  transition->results = LDX_ARENA_NEW(arena, ldx_result *, transition->count + 1);
  bool ok = run_aloud(session, "transact", context, error);
  for (size_t i = 0; ok && i < transition->count; i++) {
    const ldx_statement *statement = &transition->statements[i];
    transition->results[transition->done++] = result_of(arena, statement->text, statement->parameter_count);
  }
  transition->committed = ok && ldx_transaction_commits(transition->what);
  return ok;
}

/* Of the history nothing is kept but how many runs there were. */
static ldx_result *fake_history(ldx_session *session, ldx_arena *arena, ldx_history what, const char *const *parameters,
                                size_t parameter_count, ldx_error *error) {
  static const char *const id = "id";
  (void)parameters;
  if (!run(session, "query", error)) return NULL;
  ldx_fake_store *store = session->script->store;
  ldx_result *result = result_of(arena, "history", parameter_count);
  if (!store) return result;
  pthread_mutex_lock(&mutex);
  if (what == LDX_HISTORY_RUN) {
    const char *number = ldx_arena_printf(arena, "%d", ldx_fake_store_add_run(store));
    result = ldx_result_of(arena, &id, "i", &number, 1, "FAKE");
  } else {
    result->row_count = what == LDX_HISTORY_READ && ldx_fake_store_runs(store) > 0;
  }
  pthread_mutex_unlock(&mutex);
  return result;
}

static void tell_build(const char *relation, const char *name, void *state) {
  const char **row = ldx_status_add(state);
  row[LDX_STATUS_KIND] = "build";
  row[LDX_STATUS_RELATION] = relation;
  row[LDX_STATUS_NAME] = name;
}

static ldx_result *fake_status(ldx_session *session, ldx_arena *arena, ldx_error *error) {
  if (!run(session, "status", error)) return NULL;
  if (!session->script->store) return result_of(arena, "status", 0);
  ldx_status status = {.arena = arena};
  pthread_mutex_lock(&mutex);
  ldx_fake_store_builds(session->script->store, tell_build, &status);
  pthread_mutex_unlock(&mutex);
  return ldx_status_result(&status);
}

#define FUNCTIONS                                                                                                      \
  .name = "fake", .open = fake_open, .close = fake_close, .catalog = fake_catalog, .resolve = fake_resolve,            \
  .perform = fake_perform, .describe = fake_describe, .watch = fake_watch, .measure = fake_measure, .lock = fake_lock, \
  .unlock = fake_unlock, .query = fake_query, .transact = fake_transact, .history = fake_history, .alive = fake_alive, \
  .cancel = fake_cancel, .status = fake_status

const ldx_driver ldx_driver_fake = {FUNCTIONS};
const ldx_driver ldx_driver_fake_lease = {FUNCTIONS, .hold = fake_hold};

/* --- what tests ask ------------------------------------------------------------------------------------------------- */

int ldx_fake_count(const char *target, const char *call) {
  pthread_mutex_lock(&mutex);
  int count = script_of(target)->counts[call_number(call)];
  pthread_mutex_unlock(&mutex);
  return count;
}

int ldx_fake_sessions(void) {
  pthread_mutex_lock(&mutex);
  int count = session_count;
  pthread_mutex_unlock(&mutex);
  return count;
}

int ldx_fake_violations(void) {
  pthread_mutex_lock(&mutex);
  int count = violation_count;
  pthread_mutex_unlock(&mutex);
  return count;
}

void ldx_fake_reset(void) {
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < script_count; i++) {
    free(scripts[i]->target);
    ldx_fake_store_free(scripts[i]->store);
    free(scripts[i]);
  }
  script_count = violation_count = 0;
  pthread_mutex_unlock(&mutex);
}
