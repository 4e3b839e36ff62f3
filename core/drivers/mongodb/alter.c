/* alter.c: what collMod can change of an index that is there. */
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "spec.h"

static bool set_options(ldx_mongo_attempt *attempt, const ldx_mongo_index *live) {
  const ldx_step *step = attempt->step;
  const char *expires = ldx_mongo_option(&step->definition->storage, "expireAfterSeconds");
  const char *hidden = ldx_mongo_option(&step->definition->storage, "hidden");
  bool hide = hidden && !strcmp(hidden, "true");
  if (!expires && live->expires) {
    ldx_error_set(attempt->error, LDX_ERROR_UNSUPPORTED,
                  "%s deletes documents, and the server cannot make it a plain index", step->name);
    ldx_error_hint(attempt->error, "Build it again under another name, then drop this one.");
    return false;
  }
  double seconds = expires ? atof(expires) : 0;
  bool change_expiry = expires && (!live->expires || live->expire_after != seconds);
  if (!change_expiry && hide == live->hidden) return true;

  bson_t command = BSON_INITIALIZER, index;
  BSON_APPEND_UTF8(&command, "collMod", step->relation.name);
  BSON_APPEND_DOCUMENT_BEGIN(&command, "index", &index);
  BSON_APPEND_UTF8(&index, "name", step->name);
  if (change_expiry) BSON_APPEND_INT64(&index, "expireAfterSeconds", (int64_t)seconds);
  if (hide != live->hidden) BSON_APPEND_BOOL(&index, "hidden", hide);
  bson_append_document_end(&command, &index);
  bool ok = ldx_mongo_change(attempt, &command, NULL);
  bson_destroy(&command);
  return ok;
}

/* What an interrupted conversion to unique left behind goes where that is no longer wanted. The server takes it in no
 * command with other changes. */
static bool release(ldx_mongo_attempt *attempt, const ldx_mongo_index *live) {
  const ldx_step *step = attempt->step;
  if (!live->prepare_unique || step->definition->unique) return true;
  bson_t *command = ldx_mongo_collmod(step->relation.name, step->name, "prepareUnique", false, false);
  bool ok = ldx_mongo_change(attempt, command, NULL);
  bson_destroy(command);
  return ok;
}

bool ldx_mongo_alter(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  ldx_mongo_indexes indexes;
  const ldx_mongo_index *live;
  if (!ldx_mongo_settle(attempt, step->name, &indexes, &live)) return false;
  if (!live)
    return ldx_error_set(attempt->error, LDX_ERROR_UNDEFINED, "%s has no index %s", step->relation.name, step->name);
  if (live->unique && !step->definition->unique) {
    ldx_error_set(attempt->error, LDX_ERROR_UNSUPPORTED, "%s is unique, and the server cannot make it a plain index",
                  step->name);
    ldx_error_hint(attempt->error, "Build it again under another name, then drop this one.");
    return false;
  }
  if (!set_options(attempt, live) || !release(attempt, live)) return false;
  return !step->definition->unique || live->unique || ldx_mongo_make_unique(attempt, live);
}
