#include "attempt.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "indexes.h"
#include "locks.h"
#include "path.h"
#include "shell.h"
#include "who.h"

enum { NAMESPACE_NOT_FOUND = 26 };
static const char in_progress[] = "12587"; /* BackgroundOperationInProgressForNamespace */
/* Seconds between two tries to have the collection: time for those who stood behind the first one; and where it cannot be
 * seen whether somebody has it. */
static const double rest = 2, blind_rest = 10;

/* A copy that lives as long as the arena and needs no bson_destroy. */
static void keep(ldx_arena *arena, const bson_t *document, bson_t *to) {
  bson_init_static(to, memcpy(ldx_arena_alloc(arena, document->len), bson_get_data(document), document->len),
                   document->len);
}

static void read_spec(ldx_mongo_index *index) {
  index->name = ldx_mongo_text_at(&index->spec, "name");
  index->unique = ldx_mongo_flag_at(&index->spec, "unique");
  index->prepare_unique = ldx_mongo_flag_at(&index->spec, "prepareUnique");
  index->hidden = ldx_mongo_flag_at(&index->spec, "hidden");
  index->expires = bson_has_field(&index->spec, "expireAfterSeconds");
  index->expire_after = ldx_mongo_number_at(&index->spec, "expireAfterSeconds");
}

typedef struct seen {
  ldx_arena *arena;
  size_t capacity;
  ldx_mongo_indexes *indexes;
} seen;

/* bson_t asks for more than any other type, and than the arena gives. */
static ldx_mongo_index *new_indexes(ldx_arena *arena, size_t count) {
  const uintptr_t alignment = _Alignof(ldx_mongo_index);
  uintptr_t memory = (uintptr_t)ldx_arena_alloc(arena, count * sizeof(ldx_mongo_index) + alignment);
  return (ldx_mongo_index *)((memory + alignment - 1) / alignment * alignment);
}

static void each_index(const bson_t *spec, bool ready, void *state) {
  seen *s = state;
  if (s->indexes->count == s->capacity) {
    size_t more = s->capacity ? s->capacity * 2 : 16;
    ldx_mongo_index *items = new_indexes(s->arena, more);
    if (s->capacity) memcpy(items, s->indexes->items, s->capacity * sizeof *items);
    s->indexes->items = items;
    s->capacity = more;
  }
  ldx_mongo_index *index = &s->indexes->items[s->indexes->count++];
  keep(s->arena, spec, &index->spec);
  index->building = !ready;
  read_spec(index);
}

bool ldx_mongo_see(ldx_mongo_attempt *attempt, ldx_mongo_indexes *indexes) {
  *indexes = (ldx_mongo_indexes){.exists = true};
  seen state = {.arena = attempt->arena, .indexes = indexes};
  bool ok = ldx_mongo_list_indexes(attempt->session, attempt->step->relation.name, each_index, &state, attempt->error);
  if (ok || atoi(attempt->error->native) != NAMESPACE_NOT_FOUND) return ok;
  ldx_error_clear(attempt->error);
  *indexes = (ldx_mongo_indexes){.exists = false};
  return true;
}

const ldx_mongo_index *ldx_mongo_index_named(const ldx_mongo_indexes *indexes, const char *name) {
  for (size_t i = 0; i < indexes->count; i++)
    if (!strcmp(indexes->items[i].name, name)) return &indexes->items[i];
  return NULL;
}

const char *ldx_mongo_undo_of(ldx_mongo_attempt *attempt, const bson_t *spec) {
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  ldx_mongo_shell_create(&b, attempt->step->relation.name, spec, NULL);
  return ldx_buffer_string(&b);
}

bool ldx_mongo_pause(ldx_mongo_attempt *attempt) {
  if (ldx_context_cancelled(attempt->context)) return ldx_error_set(attempt->error, LDX_ERROR_CANCELLED, "cancelled");
  ldx_clock_sleep(0.2);
  return true;
}

/* --- sending ------------------------------------------------------------------------------------------------------------ */

/* For at least `rests` times the time to rest. */
static bool wait_for_collection(ldx_mongo_attempt *attempt, int rests) {
  const ldx_step *step = attempt->step;
  ldx_context *context = attempt->context;
  double began = ldx_clock_now();
  bool ok = true;
  while (ok) {
    char who[512];
    ldx_mongo_holding hold = ldx_mongo_find_transaction(attempt->session, step->relation.name, who, sizeof who);
    double waited = ldx_clock_now() - began;
    if (hold != LDX_MONGO_HELD && waited >= rests * (hold == LDX_MONGO_UNSEEN ? blind_rest : rest)) break;
    /* The watcher shows who has it while nothing is sent. */
    if (hold == LDX_MONGO_HELD) ldx_context_running(context, attempt->session->number);
    bool over = (step->lock_timeout > 0 && waited > step->lock_timeout) || ldx_context_over_budget(context);
    if (over && hold == LDX_MONGO_HELD) {
      ok = ldx_error_set(attempt->error, LDX_ERROR_LOCK_TIMEOUT, "%s is held by %s", step->relation.name, who);
      ldx_error_hint(attempt->error, "Nothing was begun.");
    } else {
      ok = ldx_mongo_pause(attempt);
    }
  }
  ldx_context_running(context, 0);
  return ok;
}

bool ldx_mongo_wait_for_collection(ldx_mongo_attempt *attempt) {
  return wait_for_collection(attempt, 0);
}

static bool send_once(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply) {
  bson_t own;
  if (!ldx_context_locked(attempt->context, attempt->error)) return false;
  bool ok = ldx_mongo_run(attempt->session, attempt->context, command, &own, attempt->error);
  if (reply) {
    bson_destroy(reply);
    bson_steal(reply, &own);
  } else {
    bson_destroy(&own);
  }
  return ok;
}

/* Again and again, with rests, until the step's budget for locks is spent: the watcher ends what stands in the queue. */
static bool send_in_slices(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply) {
  const double budget = attempt->step->lock_timeout, began = ldx_clock_now();
  for (;;) {
    if (send_once(attempt, command, reply)) return true;
    if (attempt->error->code != LDX_ERROR_LOCK_TIMEOUT) return false;
    ldx_error refusal = *attempt->error;
    if (!wait_for_collection(attempt, 1)) return false;
    if (budget > 0 && ldx_clock_now() - began >= budget) {
      *attempt->error = refusal;
      return false;
    }
    ldx_error_clear(attempt->error);
  }
}

bool ldx_mongo_send(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply) {
  const char *told = NULL;
  if (reply) bson_init(reply);
  for (;;) {
    bool ok = send_in_slices(attempt, command, reply);
    if (ok || strcmp(attempt->error->native, in_progress) != 0) return ok;
    const char *builder = ldx_mongo_builder_of(attempt, NULL);
    if (builder && (!told || strcmp(told, builder) != 0)) {
      ldx_context_note(attempt->context, "an index of %s is being built by %s: waiting for it",
                       attempt->step->relation.name, builder);
      told = builder;
    }
    if (!ldx_mongo_pause(attempt)) return false;
  }
}

bool ldx_mongo_change(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply) {
  if (ldx_mongo_wait_for_collection(attempt)) return ldx_mongo_send(attempt, command, reply);
  if (reply) bson_init(reply);
  return false;
}

const char *ldx_mongo_builder_of(ldx_mongo_attempt *attempt, const char *name) {
  ldx_mongo_activity activity;
  const bson_t *client = NULL, *worker = NULL;
  ldx_error ignored;
  ldx_mongo_look_around(attempt->session, false, &activity, &ignored);
  for (size_t i = 0; i < activity.count; i++) {
    const ldx_mongo_operation *operation = &activity.items[i];
    if (operation->number == attempt->session->number ||
        !ldx_mongo_operation_is_about(operation, attempt->session->database, attempt->step->relation.name, name))
      continue;
    /* Who asked for it; or what does it, if nobody waits for it any more. */
    if (operation->worker)
      worker = operation->document;
    else if (!client)
      client = operation->document;
  }
  char who[256];
  if (client || worker) ldx_mongo_who(who, sizeof who, client ? client : worker);
  ldx_mongo_activity_free(&activity);
  return client || worker ? ldx_arena_strdup(attempt->arena, who) : NULL;
}
