/* build.c: one index is built, whatever happens.
 *
 * The server decides what is the same: createIndexes answers at once if the index is there already, joins the build of the
 * same one, and refuses a name that belongs to another definition. So a build whose answer was lost, in a step-down, with
 * the network or in a restart, is joined by asking for it again.
 *
 * A unique index on a collection with documents is built plain first, with prepareUnique: duplicates that are there fail
 * no build after an hour, but are all found at its end, and new ones are refused from then on (unique.c). A user
 * who may not collMod could neither complete that nor take it back: for him it is built unique at once.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "duplicates.h"
#include "path.h"
#include "privileges.h"
#include "spec.h"

/* For the server to clear away a build that was cancelled. */
static const double cleanup_patience = 10, cleanup_grace = 1;
/* Of the server: what it says of a name or definition that is taken. */
enum { OPTIONS_CONFLICT = 85, KEY_SPECS_CONFLICT = 86 };

bool ldx_mongo_settle(ldx_mongo_attempt *attempt, const char *name, ldx_mongo_indexes *indexes,
                      const ldx_mongo_index **found) {
  for (bool told = false;; told = true) {
    if (!ldx_mongo_see(attempt, indexes)) return false;
    *found = ldx_mongo_index_named(indexes, name);
    if (!*found || !(*found)->building) return true;
    const char *builder = told ? NULL : ldx_mongo_builder_of(attempt, name);
    if (!told)
      ldx_context_note(attempt->context, "%s is being built by %s: waiting for it", name,
                       builder ? builder : "somebody");
    if (!ldx_mongo_pause(attempt)) return false;
  }
}

/* --- what is there --------------------------------------------------------------------------------------------------- */

static bool has_documents(ldx_mongo_attempt *attempt, bool *any) {
  bson_t *command = BCON_NEW("find", BCON_UTF8(attempt->step->relation.name), "limit", BCON_INT32(1), "projection", "{",
                             "_id", BCON_INT32(1), "}");
  bson_t reply;
  bool ok = ldx_mongo_command(attempt->session, NULL, command, &reply, attempt->error);
  *any = ok && ldx_mongo_count_at(&reply, "cursor.firstBatch") > 0;
  bson_destroy(&reply);
  bson_destroy(command);
  return ok;
}

/* After the server refused: the error says which index is in the way. */
static bool taken(ldx_mongo_attempt *attempt) {
  const char *name = attempt->step->name, *relation = attempt->step->relation.name;
  ldx_mongo_indexes indexes;
  ldx_error refusal = *attempt->error;
  if (!ldx_mongo_see(attempt, &indexes)) return false;
  const ldx_mongo_index *named = ldx_mongo_index_named(&indexes, name);
  if (named) {
    ldx_error_set(attempt->error, LDX_ERROR_DUPLICATE_NAME,
                  "the name %s belongs to an index of %s with another definition", name, relation);
    snprintf(attempt->error->detail, sizeof attempt->error->detail, "%s", ldx_mongo_undo_of(attempt, &named->spec));
    ldx_error_hint(attempt->error, "Declare another name.");
  } else {
    *attempt->error = refusal;
    ldx_error_hint(attempt->error, "%s has an index that the server takes for the same, under another name.", relation);
  }
  snprintf(attempt->error->native, sizeof attempt->error->native, "%s", refusal.native);
  return false;
}

static bool is_conflict(const ldx_error *error) {
  int native = atoi(error->native);
  return native == OPTIONS_CONFLICT || native == KEY_SPECS_CONFLICT;
}

/* --- building --------------------------------------------------------------------------------------------------------- */

static void append_quorum(bson_t *command, const char *quorum) {
  if (quorum && *quorum && strspn(quorum, "0123456789") == strlen(quorum))
    BSON_APPEND_INT32(command, "commitQuorum", (int32_t)atoi(quorum));
  else if (quorum)
    BSON_APPEND_UTF8(command, "commitQuorum", quorum);
}

static bool append_spec(bson_t *indexes, size_t number, const ldx_companion *index, bool unique, bool prepare,
                        ldx_error *error) {
  bson_t spec;
  char place[16];
  if (!ldx_mongo_spec_of(index->definition, index->name, unique, &spec, error)) return false;
  if (prepare) ldx_mongo_prepare(&spec);
  snprintf(place, sizeof place, "%zu", number);
  bson_append_document(indexes, place, -1, &spec);
  bson_destroy(&spec);
  return true;
}

/* One createIndexes, of the step's own index first and then `companions` of it. `live`: what has its name already, and is
 * joined; or NULL. */
static bool create_with(ldx_mongo_attempt *attempt, const ldx_mongo_index *live, bool unique, bool prepare,
                        size_t companions) {
  const ldx_step *step = attempt->step;
  const ldx_companion own = {.name = step->name, .definition = step->definition};
  bson_t command = BSON_INITIALIZER, indexes;
  BSON_APPEND_UTF8(&command, "createIndexes", step->relation.name);
  bson_append_array_begin(&command, "indexes", -1, &indexes);
  bool ok = append_spec(&indexes, 0, &own, unique, prepare, attempt->error);
  for (size_t i = 0; ok && i < companions; i++)
    ok = append_spec(&indexes, i + 1, &step->companions[i], false, false, attempt->error);
  bson_append_array_end(&command, &indexes);
  append_quorum(&command, step->commit_quorum);
  if (ok && !live) ldx_context_builds(attempt->context);
  /* What is there, or under way, needs no lock. */
  ok = ok && (live || ldx_mongo_wait_for_collection(attempt)) && ldx_mongo_send(attempt, &command, NULL);
  bson_destroy(&command);
  return ok;
}

static bool create(ldx_mongo_attempt *attempt, const ldx_mongo_index *live, bool unique, bool prepare) {
  return create_with(attempt, live, unique, prepare, 0);
}

/* All by one command, or none. `apart`: one of them cannot be built, and which is seen when each is built by itself. */
static bool create_together(ldx_mongo_attempt *attempt, bool *apart) {
  bool ok = create_with(attempt, NULL, false, false, attempt->step->companion_count);
  ldx_error_code code = attempt->error->code;
  *apart = !ok && (code == LDX_ERROR_DUPLICATE_NAME || code == LDX_ERROR_INVALID_DEFINITION ||
                   (code == LDX_ERROR_SERVER && !ldx_mongo_was_ended(attempt->error)));
  if (*apart) {
    ldx_context_note(attempt->context, "the indexes of %s could not be built together: each is built by itself (%s)",
                     attempt->step->relation.name, attempt->error->message);
    ldx_error_clear(attempt->error);
  }
  return ok;
}

/* The server clears away what was cancelled; a build that somebody else began goes on, and that is said. */
static void see_it_gone(ldx_mongo_attempt *attempt) {
  ldx_error own;
  ldx_mongo_attempt look = *attempt;
  look.error = &own;
  double began = ldx_clock_now();
  for (;;) {
    ldx_mongo_indexes indexes;
    if (!ldx_mongo_see(&look, &indexes)) return;
    const ldx_mongo_index *index = ldx_mongo_index_named(&indexes, attempt->step->name);
    if (!index || !index->building) return;
    const char *builder = ldx_mongo_builder_of(&look, attempt->step->name);
    double waited = ldx_clock_now() - began;
    if ((builder && waited > cleanup_grace) || waited > cleanup_patience) {
      ldx_context_note(attempt->context, "the build of %s goes on: %s asked for it, too", attempt->step->name,
                       builder ? builder : "somebody");
      return;
    }
    ldx_clock_sleep(0.1);
  }
}

/* What went wrong, after create. */
static bool explain(ldx_mongo_attempt *attempt) {
  if (is_conflict(attempt->error)) return taken(attempt);
  if (attempt->error->code == LDX_ERROR_CANCELLED || attempt->error->code == LDX_ERROR_LOCK_TIMEOUT)
    see_it_gone(attempt);
  if (attempt->error->code == LDX_ERROR_DUPLICATE_KEY) ldx_mongo_explain_duplicates(attempt);
  return false;
}

static bool create_or_explain(ldx_mongo_attempt *attempt, const ldx_mongo_index *live, bool unique, bool prepare) {
  return create(attempt, live, unique, prepare) || explain(attempt);
}

/* Unique from the first, where the other way is barred: whether it can succeed is seen beforehand. */
static bool build_at_once(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes) {
  ldx_error_clear(attempt->error);
  bool checked = attempt->step->check_duplicates;
  return (checked || ldx_mongo_check_duplicates(attempt, indexes)) && create_or_explain(attempt, NULL, true, false);
}

static bool build_unique(ldx_mongo_attempt *attempt, const ldx_mongo_indexes *indexes) {
  const char *name = attempt->step->name;
  const ldx_mongo_index *live = ldx_mongo_index_named(indexes, name);
  ldx_mongo_indexes after;
  if (live) {
    /* As it is, so that the server compares everything else, and joins. */
    if (!create_or_explain(attempt, live, live->unique, live->prepare_unique)) return false;
  } else {
    bool any = false;
    if (indexes->exists && !has_documents(attempt, &any)) return false;
    if (!any) return create_or_explain(attempt, NULL, true, false);
    bool may;
    if (!ldx_mongo_may_alter(attempt->session, attempt->step->relation.name, &may, attempt->error)) return false;
    if (!may) {
      /* It could neither be made unique afterwards nor stop refusing writes. */
      ldx_context_note(
          attempt->context,
          "%s is built unique at once, for the user has no right to collMod: what is written twice meanwhile "
          "makes the build fail",
          name);
      return build_at_once(attempt, indexes);
    }
    if (!create(attempt, NULL, false, true)) {
      /* The server takes it for a second copy of a plain index of the same keys that stands beside. */
      bool beside = is_conflict(attempt->error) && !ldx_mongo_index_named(indexes, name);
      if (beside) return build_at_once(attempt, indexes);
      /* The server goes on with it. */
      if (ldx_error_retry(attempt->error->code) == LDX_RETRY_VERIFY) ldx_mongo_tell_prepared(attempt);
      return explain(attempt);
    }
  }
  if (!ldx_mongo_see(attempt, &after)) return false;
  live = ldx_mongo_index_named(&after, name);
  if (!live)
    return ldx_error_set(attempt->error, LDX_ERROR_TERMINATED, "%s was dropped by somebody while it was made unique",
                         name);
  return live->unique || ldx_mongo_make_unique(attempt, live);
}

bool ldx_mongo_build(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_mongo_indexes indexes;
  if (!ldx_mongo_see(attempt, &indexes)) return false;
  if (step->existing && !indexes.exists) {
    ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s does not exist any more", step->relation.name);
    ldx_error_hint(attempt->error,
                   "Somebody dropped it since this was planned. The next run makes it, with its indexes.");
    return false;
  }
  const ldx_mongo_index *live = ldx_mongo_index_named(&indexes, step->name);
  if (live && live->building) {
    const char *builder = ldx_mongo_builder_of(attempt, step->name);
    ldx_context_note(attempt->context, "%s is being built by %s: waiting for it", step->name,
                     builder ? builder : "somebody");
  }
  if (!live && step->check_duplicates && !ldx_mongo_check_duplicates(attempt, &indexes)) return false;
  if (step->definition->unique) return build_unique(attempt, &indexes);
  if (!live && step->companion_count) {
    bool apart;
    if (create_together(attempt, &apart)) return true;
    if (!apart) return explain(attempt);
  }
  return create_or_explain(attempt, live, false, live && live->prepare_unique);
}
