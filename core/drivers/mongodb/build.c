/* build.c: one index is built, whatever happens.
 *
 * The server decides what is the same: createIndexes answers at once if the index is there already, joins the build of the
 * same one, and refuses a name that belongs to another definition. So a build whose answer was lost, in a step-down, with
 * the network or in a restart, is joined by asking for it again.
 *
 * A unique index on a collection with documents is built plain first, with prepareUnique: duplicates that are there fail
 * no build after an hour, but are all found at its end, and new ones are refused from then on (collmod.c). A user
 * who may not collMod could neither complete that nor take it back: for him it is built unique at once.
 */
#include "build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "codes.h"
#include "duplicates.h"
#include "members.h"
#include "path.h"
#include "privileges.h"
#include "spec.h"

/* For the server to clear away a build that was cancelled. */
static const double cleanup_patience = 10, cleanup_grace = 1;

static void append_quorum(bson_t *command, const char *quorum) {
  if (quorum && *quorum && strspn(quorum, "0123456789") == strlen(quorum))
    BSON_APPEND_INT32(command, "commitQuorum", (int32_t)atoi(quorum));
  else if (quorum)
    BSON_APPEND_UTF8(command, "commitQuorum", quorum);
}

/* The server was asked, and will not. */
static bool is_refusal(const ldx_error *error) {
  return error->native[0] && error->code != LDX_ERROR_CANCELLED && ldx_error_retry(error->code) == LDX_RETRY_NEVER;
}

/* A build that is joined has the quorum of whoever began it, and may be waiting for a member that is dead: it gets the one
 * that is declared. The server wants all indexes of that build named. Where it refuses, the build goes on as it is. */
static bool set_quorum(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  bson_t build, command = BSON_INITIALIZER, own;
  bson_iter_t names;
  char kept_in[LDX_MONGO_LONGEST_NAME];
  if (!step->commit_quorum) return true;
  bool found = ldx_mongo_find_build(attempt->session, step->relation.name, step->name, kept_in, sizeof kept_in, &build);
  BSON_APPEND_UTF8(&command, "setIndexCommitQuorum", kept_in);
  if (found && ldx_mongo_find(&build, "cursor.firstBatch.0.indexNames", &names)) {
    bson_append_iter(&command, "indexNames", -1, &names);
  } else {
    bson_append_array_begin(&command, "indexNames", -1, &own);
    BSON_APPEND_UTF8(&own, "0", step->name);
    bson_append_array_end(&command, &own);
  }
  append_quorum(&command, step->commit_quorum);
  bool ok = ldx_mongo_send(attempt, ldx_lock_budget(step), &command, NULL), refused = !ok && is_refusal(attempt->error);
  if (ok)
    ldx_context_note(attempt->context, "that build's commit quorum is %s from now on", step->commit_quorum);
  else if (refused && attempt->error->code != LDX_ERROR_UNDEFINED) /* it has ended */
    ldx_context_note(attempt->context, "that build keeps its own commit quorum, for it cannot be set: %s",
                     attempt->error->message);
  if (refused) ldx_error_clear(attempt->error);
  bson_destroy(&build);
  bson_destroy(&command);
  return ok || refused;
}

/* Tells whose build it is that is waited for. */
static bool join(ldx_mongo_attempt *attempt, const char *name) {
  char builder[256];
  ldx_mongo_builder_of(attempt, name, builder, sizeof builder);
  ldx_context_note(attempt->context, "%s is being built by %s: waiting for it", name, builder);
  return set_quorum(attempt);
}

/* With an arena of its own: it may be asked for hours. */
static bool is_being_built(const ldx_mongo_attempt *attempt, const char *name, bool *is) {
  ldx_mongo_attempt look = *attempt;
  ldx_mongo_indexes indexes;
  look.arena = ldx_arena_new();
  bool ok = ldx_mongo_see(&look, &indexes);
  const ldx_mongo_index *index = ok ? ldx_mongo_index_named(&indexes, name) : NULL;
  *is = index && index->building;
  ldx_arena_free(look.arena);
  return ok;
}

bool ldx_mongo_settle(ldx_mongo_attempt *attempt, const char *name) {
  for (bool told = false;; told = true) {
    bool building;
    if (!is_being_built(attempt, name, &building)) return false;
    if (!building) return true;
    if (!told && !join(attempt, name)) return false;
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

/* A name or definition that is taken. */
static bool is_conflict(const ldx_error *error) {
  return ldx_mongo_is(error, LDX_MONGO_CODE_INDEX_OPTIONS_CONFLICT) ||
         ldx_mongo_is(error, LDX_MONGO_CODE_INDEX_KEY_SPECS_CONFLICT);
}

/* --- building --------------------------------------------------------------------------------------------------------- */

static bool append_spec(bson_t *indexes, size_t number, const ldx_companion *index, bool unique, bool prepare,
                        ldx_error *error) {
  bson_t spec;
  char place[16];
  if (!ldx_mongo_spec_of(index->definition, index->name, unique, &spec, error)) return false;
  if (prepare && !bson_has_field(&spec, "prepareUnique")) BSON_APPEND_BOOL(&spec, "prepareUnique", true);
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
  ok = ok && (live ? ldx_mongo_send(attempt, ldx_lock_budget(step), &command, NULL)
                   : ldx_mongo_change(attempt, &command, NULL));
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
    bool building;
    char builder[256];
    if (!is_being_built(&look, attempt->step->name, &building) || !building) return;
    bool shown = ldx_mongo_builder_of(&look, attempt->step->name, builder, sizeof builder);
    double waited = ldx_clock_now() - began;
    if ((shown && waited > cleanup_grace) || waited > cleanup_patience) {
      ldx_context_note(attempt->context, "the build of %s goes on: %s asked for it, too", attempt->step->name, builder);
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
  if (attempt->error->code == LDX_ERROR_DUPLICATE_KEY) ldx_mongo_explain_duplicates(attempt, NULL);
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
    if (!create_or_explain(attempt, live, live->now.unique, live->now.prepare_unique)) return false;
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
      if (is_conflict(attempt->error)) return build_at_once(attempt, indexes);
      /* To prepareUnique, where it was told to be like an older version, as it is for some days after an upgrade. */
      if (ldx_mongo_is(attempt->error, LDX_MONGO_CODE_INVALID_OPTIONS)) {
        ldx_context_note(
            attempt->context,
            "%s is built unique at once, for the server does not convert indexes (its "
            "featureCompatibilityVersion is below 6.0): what is written twice meanwhile makes the build fail",
            name);
        return build_at_once(attempt, indexes);
      }
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
  /* What else it has, the server has compared. */
  ldx_mongo_alterable index = ldx_mongo_alterable_of(attempt->step->definition);
  index.prepare_unique = live->now.prepare_unique;
  index.unique = live->now.unique;
  return ldx_mongo_alter_from(attempt, index);
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
  if (live && live->building && !join(attempt, step->name)) return false;
  if (!live && step->check_duplicates && !ldx_mongo_check_duplicates(attempt, &indexes)) return false;
  if (step->definition->unique) return build_unique(attempt, &indexes);
  if (!live && step->companion_count) {
    bool apart;
    if (create_together(attempt, &apart)) return true;
    if (!apart) return explain(attempt);
  }
  return create_or_explain(attempt, live, false, live && live->now.prepare_unique);
}
