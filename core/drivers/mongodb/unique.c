/* unique.c: where an index that is there could not be made unique (collmod.c).
 *
 * Where that fails for good, prepareUnique is taken back: nothing that was written before may be refused because of a
 * change that was not made. That is a step of its own, for whether anybody tries again is not known here.
 */
#include "base/buffer.h"
#include "build.h"
#include "codes.h"
#include "duplicates.h"
#include "shell.h"

static const char *command_text(ldx_mongo_attempt *attempt, bool value) {
  bson_t *command = ldx_mongo_collmod(attempt->step->relation.name, attempt->step->name, "prepareUnique", value);
  ldx_buffer b;
  ldx_buffer_init(&b, attempt->arena);
  ldx_mongo_shell_command(&b, command);
  bson_destroy(command);
  return ldx_buffer_string(&b);
}

bool ldx_mongo_take_back(ldx_mongo_attempt *attempt) {
  const char *name = attempt->step->name;
  ldx_mongo_indexes indexes;
  if (!ldx_mongo_see(attempt, &indexes)) return false;
  const ldx_mongo_index *live = ldx_mongo_index_named(&indexes, name);
  /* What is being built cannot be changed, and whoever builds it wants it so; likewise what is another one by now. */
  if (!live || live->building || !live->now.prepare_unique || !ldx_mongo_is_meant(attempt, live)) return true;
  bson_t *command = ldx_mongo_collmod(attempt->step->relation.name, name, "prepareUnique", false);
  bool ok = ldx_mongo_change(attempt, command, NULL);
  bson_destroy(command);
  if (!ok) {
    if (attempt->error->code == LDX_ERROR_UNDEFINED) return true; /* somebody dropped it meanwhile */
    ldx_context_note(attempt->context, "%s stays and refuses new duplicates, for this failed: %s (%s)", name,
                     command_text(attempt, false), attempt->error->message);
    return false;
  }
  ldx_context_note(attempt->context,
                   "%s stays, not unique yet; it refuses no duplicates until it is made unique by the next run, or: %s",
                   name, command_text(attempt, true));
  return true;
}

void ldx_mongo_tell_prepared(ldx_mongo_attempt *attempt) {
  ldx_context_note(attempt->context,
                   "%s may refuse new duplicates until the next attempt or run makes it unique; to take that back: %s",
                   attempt->step->name, command_text(attempt, false));
}

void ldx_mongo_explain_conversion(ldx_mongo_attempt *attempt, const ldx_mongo_alterable *from,
                                  const ldx_mongo_alterable *to, const bson_t *reply) {
  ldx_error *error = attempt->error;
  if (to->checked) {
    /* Somebody changed the index while it was scanned, perhaps to the same end: the next attempt looks. */
    if (ldx_mongo_is(error, LDX_MONGO_CODE_COMMAND_FAILED)) error->code = LDX_ERROR_SERIALIZATION;
    if (error->code == LDX_ERROR_DUPLICATE_KEY) ldx_mongo_explain_violations(attempt, reply);
    /* Whoever tries again goes on from there; and without the run lock nothing is taken back. */
    if (error->code == LDX_ERROR_LOCK_LOST || ldx_error_retry(error->code) != LDX_RETRY_NEVER)
      ldx_mongo_tell_prepared(attempt);
  } else if (to->prepare_unique && !from->prepare_unique) {
    if (ldx_error_retry(error->code) == LDX_RETRY_VERIFY) ldx_mongo_tell_prepared(attempt);
    if (ldx_mongo_is(error, LDX_MONGO_CODE_INVALID_OPTIONS))
      ldx_error_hint(error, "The server's featureCompatibilityVersion has to be 6.0 for that. Drop the index first, "
                            "or: db.adminCommand({ setFeatureCompatibilityVersion: \"6.0\" })");
  }
}
