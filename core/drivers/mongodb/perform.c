/* perform.c: one attempt at a step. */
#include "build.h"
#include "driver_parts.h"

static const char *const words[] = {
    [LDX_STEP_BUILD] = "build",       [LDX_STEP_ATTACH] = "attach", [LDX_STEP_DROP] = "drop",
    [LDX_STEP_RENAME] = "rename",     [LDX_STEP_SWAP] = "swap",     [LDX_STEP_ALTER] = "alter",
    [LDX_STEP_VALIDATE] = "validate", [LDX_STEP_AWAIT] = "await",   [LDX_STEP_DROP_CONSTRAINT] = "drop a constraint",
};

static bool dispatch(ldx_mongo_attempt *attempt) {
  const ldx_step *step = attempt->step;
  if (!step->relation.name || !step->name || !*step->name)
    return ldx_error_set(attempt->error, LDX_ERROR_USAGE, "the step lacks its collection or name");
  if (step->definition && step->definition->kind != LDX_KIND_INDEX)
    return ldx_error_set(attempt->error, LDX_ERROR_UNSUPPORTED, "MongoDB has indexes only, no %s",
                         ldx_kind_name(step->definition->kind));
  switch (step->kind) {
  case LDX_STEP_BUILD:
    return ldx_mongo_build(attempt);
  case LDX_STEP_DROP:
    return ldx_mongo_drop(attempt);
  case LDX_STEP_ALTER:
    return ldx_mongo_alter(attempt);
  case LDX_STEP_AWAIT:
    return ldx_mongo_settle(attempt, step->name);
  case LDX_STEP_ATTACH:
  case LDX_STEP_RENAME:
  case LDX_STEP_SWAP:
  case LDX_STEP_VALIDATE:
  case LDX_STEP_DROP_CONSTRAINT:
    break;
  }
  return ldx_error_set(attempt->error, LDX_ERROR_UNSUPPORTED, "MongoDB cannot %s an index in place", words[step->kind]);
}

bool ldx_mongo_perform(ldx_session *session, const ldx_step *step, ldx_context *context, ldx_error *error) {
  ldx_error own;
  ldx_mongo_attempt attempt = {
      .session = session,
      .step = step,
      .context = context,
      .arena = ldx_arena_new(),
      .error = error ? error : &own,
  };
  ldx_error_clear(attempt.error);
  session->context = context;
  bool ok = dispatch(&attempt);
  session->context = NULL;
  ldx_arena_free(attempt.arena);
  return ok;
}
