/* alter.c: what collMod can change of an index that is there. */
#include "build.h"
#include "spec.h"

bool ldx_mongo_alter_from(ldx_mongo_attempt *attempt, ldx_mongo_alterable index) {
  for (;;) {
    const ldx_mongo_alterable before = index;
    bson_t reply, *command = ldx_mongo_next_collmod(attempt->step, &index);
    if (!command) return true;
    bool ok = ldx_mongo_change(attempt, command, &reply);
    if (!ok) ldx_mongo_explain_conversion(attempt, &before, &index, &reply);
    bson_destroy(&reply);
    bson_destroy(command);
    if (!ok) return false;
  }
}

bool ldx_mongo_is_meant(ldx_mongo_attempt *attempt, const ldx_mongo_index *live) {
  const ldx_step *step = attempt->step;
  if (!step->old) return true;
  ldx_definition now = ldx_mongo_definition_like(attempt, live, step->old);
  return ldx_mongo_is_between(&now, step->old, step->definition) || ldx_mongo_another(attempt);
}

static bool cannot_be_plain(ldx_mongo_attempt *attempt, const char *what_it_does) {
  ldx_error_set(attempt->error, LDX_ERROR_UNSUPPORTED, "%s %s, and the server cannot make it a plain index",
                attempt->step->name, what_it_does);
  ldx_error_hint(attempt->error, "Build it again under another name, then drop this one.");
  return false;
}

bool ldx_mongo_alter(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_mongo_indexes indexes;
  if (step->only_invalid) return ldx_mongo_take_back(attempt);
  if (!ldx_mongo_settle(attempt, step->name) || !ldx_mongo_see(attempt, &indexes)) return false;
  const ldx_mongo_index *live = ldx_mongo_index_named(&indexes, step->name);
  if (!live)
    return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s has no index %s", step->relation.name, step->name);
  attempt->meant = ldx_mongo_is_meant;
  if (!attempt->meant(attempt, live)) return false;
  if (live->now.unique && !step->definition->unique) return cannot_be_plain(attempt, "is unique");
  if (live->now.expire_after != -1 && ldx_mongo_alterable_of(step->definition).expire_after == -1)
    return cannot_be_plain(attempt, "deletes documents");
  return ldx_mongo_alter_from(attempt, live->now);
}
