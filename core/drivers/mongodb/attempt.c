#include "attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "codes.h"
#include "indexes.h"
#include "locks.h"
#include "path.h"
#include "shell.h"
#include "spec.h"
#include "who.h"

/* A copy that lives as long as the arena and needs no bson_destroy. */
static void keep(ldx_arena *arena, const bson_t *document, bson_t *to) {
  bson_init_static(to, memcpy(ldx_arena_alloc(arena, document->len), bson_get_data(document), document->len),
                   document->len);
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
  index->name = ldx_mongo_text_at(&index->spec, "name");
  index->building = !ready;
  index->now = ldx_mongo_alterable_in(&index->spec);
}

bool ldx_mongo_see(ldx_mongo_attempt *attempt, ldx_mongo_indexes *indexes) {
  *indexes = (ldx_mongo_indexes){.exists = true};
  seen state = {.arena = attempt->arena, .indexes = indexes};
  bool ok = ldx_mongo_list_indexes(attempt->session, attempt->step->relation.name, each_index, &state, attempt->error);
  if (ok || !ldx_mongo_is(attempt->error, LDX_MONGO_CODE_NAMESPACE_NOT_FOUND)) return ok;
  ldx_error_clear(attempt->error);
  *indexes = (ldx_mongo_indexes){.exists = false};
  return true;
}

const ldx_mongo_index *ldx_mongo_index_named(const ldx_mongo_indexes *indexes, const char *name) {
  for (size_t i = 0; i < indexes->count; i++)
    if (!strcmp(indexes->items[i].name, name)) return &indexes->items[i];
  return NULL;
}

ldx_definition ldx_mongo_definition_like(ldx_mongo_attempt *attempt, const ldx_mongo_index *index,
                                         const ldx_definition *meant) {
  const char *collation = ldx_mongo_option(&meant->traits, "collation");
  bool says_simple = collation && !strcmp(collation, LDX_MONGO_SIMPLE);
  ldx_definition live = {0};
  ldx_mongo_definition_of(attempt->arena, &index->spec, says_simple ? LDX_MONGO_SIMPLE : NULL, &live);
  live.predicate_form = NULL;
  return live;
}

bool ldx_mongo_another(ldx_mongo_attempt *attempt) {
  ldx_error_set(attempt->error, LDX_ERROR_DEPENDENT,
                "%s of %s is another index since it was looked at: it stays as it is", attempt->step->name,
                attempt->step->relation.name);
  ldx_error_hint(attempt->error, "The next run looks at it anew.");
  return false;
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

/* A command that is to be sent. */
typedef struct sending {
  ldx_mongo_attempt *attempt;
  const bson_t *command;
  bson_t *reply; /* initialised; or NULL */
} sending;

/* That there is none by now, the server says. */
static bool is_still_meant(ldx_mongo_attempt *attempt) {
  if (!attempt->meant || !attempt->waited) return true;
  attempt->waited = false;
  ldx_mongo_attempt look = *attempt;
  ldx_mongo_indexes indexes;
  look.arena = ldx_arena_new(); /* it may be asked for hours */
  bool ok = ldx_mongo_see(&look, &indexes);
  const ldx_mongo_index *index = ok ? ldx_mongo_index_named(&indexes, attempt->step->name) : NULL;
  ok = ok && (!index || attempt->meant(&look, index));
  ldx_arena_free(look.arena);
  return ok;
}

static bool holder(void *state, ldx_holding *holding, char *who, size_t size, ldx_error *error) {
  ldx_mongo_attempt *attempt = ((const sending *)state)->attempt;
  (void)error;
  *holding = ldx_mongo_find_transaction(attempt->session, attempt->step->relation.name, who, size);
  if (*holding == LDX_HOLDING_SOMEBODY) attempt->waited = true;
  return true;
}

static bool send_once(void *state, ldx_error *error) {
  const sending *s = state;
  ldx_mongo_attempt *attempt = s->attempt;
  bson_t own;
  if (!is_still_meant(attempt) || !ldx_context_locked(attempt->context, error)) return false;
  bool ok = ldx_mongo_run(attempt->session, attempt->context, s->command, &own, error);
  attempt->waited = !ok;
  if (s->reply) {
    bson_destroy(s->reply);
    bson_steal(s->reply, &own);
  } else {
    bson_destroy(&own);
  }
  return ok;
}

static ldx_strong_lock lock_of(sending *s, double left) {
  const ldx_mongo_attempt *attempt = s->attempt;
  return (ldx_strong_lock){.context = attempt->context,
                           .relation = attempt->step->relation.name,
                           .operation = attempt->session->number,
                           .left = left,
                           .certain = true,
                           .holder = holder,
                           .send = send_once,
                           .state = s};
}

bool ldx_mongo_wait_for_collection(ldx_mongo_attempt *attempt, double *left) {
  sending nothing = {.attempt = attempt};
  ldx_strong_lock lock = lock_of(&nothing, ldx_lock_budget(attempt->step));
  bool ok = ldx_strong_lock_wait(&lock, attempt->error) && is_still_meant(attempt);
  *left = lock.left;
  return ok;
}

/* Behind the first comma stands how long it has been at it, which is another time whenever one looks. */
static bool is_same(const char *builder, const char *other) {
  size_t length = strcspn(builder, ",");
  return length == strcspn(other, ",") && !strncmp(builder, other, length);
}

bool ldx_mongo_send(ldx_mongo_attempt *attempt, double left, const bson_t *command, bson_t *reply) {
  char told[256] = "", builder[sizeof told];
  sending s = {attempt, command, reply};
  if (reply) bson_init(reply);
  for (;;) {
    ldx_strong_lock lock = lock_of(&s, left);
    bool ok = ldx_strong_lock_send(&lock, attempt->error);
    if (ok || !ldx_mongo_is(attempt->error, LDX_MONGO_CODE_BACKGROUND_OPERATION_IN_PROGRESS_FOR_NAMESPACE)) return ok;
    ldx_mongo_builder_of(attempt, NULL, builder, sizeof builder);
    if (!is_same(told, builder)) {
      ldx_context_note(attempt->context, "an index of %s is being built by %s: waiting for it",
                       attempt->step->relation.name, builder);
      memcpy(told, builder, sizeof told);
    }
    if (!ldx_mongo_pause(attempt)) return false;
  }
}

bool ldx_mongo_change(ldx_mongo_attempt *attempt, const bson_t *command, bson_t *reply) {
  double left;
  if (ldx_mongo_wait_for_collection(attempt, &left)) return ldx_mongo_send(attempt, left, command, reply);
  if (reply) bson_init(reply);
  return false;
}

bool ldx_mongo_builder_of(ldx_mongo_attempt *attempt, const char *name, char *who, size_t size) {
  const ldx_session *session = attempt->session;
  ldx_mongo_activity activity;
  ldx_error ignored;
  ldx_mongo_look_around(attempt->session, false, &activity, &ignored);
  const ldx_mongo_operation *builder =
      ldx_mongo_find_builder(&activity, session->database, attempt->step->relation.name, name, session->number, NULL);
  snprintf(who, size, "somebody");
  if (builder) ldx_mongo_who(who, size, builder->document);
  ldx_mongo_activity_free(&activity);
  return builder != NULL;
}
