/* unique.c: an index that is there becomes unique, without being built again.
 *
 * prepareUnique makes it refuse new duplicates; a dry run then finds all old ones; without any, one change of the catalog
 * makes it unique. Where there are duplicates, prepareUnique is taken back: nothing that was written before may be
 * refused because of a change that was not made.
 */
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "build.h"
#include "duplicates.h"
#include "shell.h"

static const char command_failed[] = "125";

void ldx_mongo_prepare(bson_t *spec) {
  BSON_APPEND_BOOL(spec, "prepareUnique", true);
}

bson_t *ldx_mongo_collmod(const char *collection, const char *name, const char *option, bool value, bool dry_run) {
  bson_t *command =
      BCON_NEW("collMod", BCON_UTF8(collection), "index", "{", "name", BCON_UTF8(name), option, BCON_BOOL(value), "}");
  if (dry_run) BSON_APPEND_BOOL(command, "dryRun", true);
  return command;
}

static bool collmod(ldx_mongo_attempt *attempt, const char *option, bool value, bool dry_run, bson_t *reply) {
  const ldx_step *step = attempt->step;
  bson_t *command = ldx_mongo_collmod(step->relation.name, step->name, option, value, dry_run);
  bool ok = ldx_mongo_change(attempt, command, reply);
  bson_destroy(command);
  return ok;
}

static const char *command_text(ldx_mongo_attempt *attempt, bool value) {
  bson_t *command = ldx_mongo_collmod(attempt->step->relation.name, attempt->step->name, "prepareUnique", value, false);
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  ldx_mongo_shell_command(&b, command);
  bson_destroy(command);
  return ldx_buffer_string(&b);
}

/* Also after a cancellation: it takes milliseconds, and what stays would be refused to writers. Whoever has the collection
 * is given some seconds, and nobody waits behind us for long. */
static void take_back(ldx_mongo_attempt *attempt) {
  enum { TRIES = 3, PATIENCE = 500 };
  const ldx_step *step = attempt->step;
  ldx_error error;
  ldx_error_clear(&error);
  bson_t *command = ldx_mongo_collmod(step->relation.name, step->name, "prepareUnique", false, false);
  BSON_APPEND_INT32(command, "maxTimeMS", PATIENCE);
  bool ok = false;
  for (int try = 0; !ok && try < TRIES; try++) {
    if (try && error.code != LDX_ERROR_LOCK_TIMEOUT) break;
    if (try) ldx_clock_sleep(2);
    ok = ldx_context_locked(attempt->context, &error) &&
         ldx_mongo_command(attempt->session, NULL, command, NULL, &error);
  }
  bson_destroy(command);
  if (ok)
    ldx_context_note(
        attempt->context,
        "%s stays, not unique yet; it refuses no duplicates until it is made unique by the next run, or: %s",
        step->name, command_text(attempt, true));
  else
    ldx_context_note(attempt->context, "%s stays and refuses new duplicates, for this failed: %s (%s)", step->name,
                     command_text(attempt, false), error.message);
}

void ldx_mongo_tell_prepared(ldx_mongo_attempt *attempt) {
  ldx_context_note(attempt->context,
                   "%s may refuse new duplicates until the next attempt or run makes it unique; to take that back: %s",
                   attempt->step->name, command_text(attempt, false));
}

bool ldx_mongo_make_unique(ldx_mongo_attempt *attempt, const ldx_mongo_index *live) {
  bson_t reply = BSON_INITIALIZER;
  bool ok = live->prepare_unique || collmod(attempt, "prepareUnique", true, false, NULL);
  if (!ok) {
    if (ldx_error_retry(attempt->error->code) == LDX_RETRY_VERIFY) ldx_mongo_tell_prepared(attempt);
    return false;
  }
  for (int dry = 1; ok && dry >= 0; dry--) {
    bson_destroy(&reply);
    ok = collmod(attempt, "unique", true, dry, &reply);
  }
  /* Somebody changed the index while it was scanned, perhaps to the same end: the next attempt looks. */
  if (!ok && !strcmp(attempt->error->native, command_failed)) attempt->error->code = LDX_ERROR_SERIALIZATION;
  if (!ok && attempt->error->code == LDX_ERROR_DUPLICATE_KEY) ldx_mongo_explain_violations(attempt, &reply);
  /* After a lost link nobody knows how far it got; whoever tries again goes on from there. Whether somebody does is not
   * known here. */
  ldx_retry class = ldx_error_retry(attempt->error->code);
  if (!ok && class == LDX_RETRY_NEVER && attempt->error->code != LDX_ERROR_LOCK_LOST)
    take_back(attempt);
  else if (!ok)
    ldx_mongo_tell_prepared(attempt);
  bson_destroy(&reply);
  return ok;
}
