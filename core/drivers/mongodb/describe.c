/* describe.c: what `perform` would send, as mongosh reads it. It cannot look, so a unique build is described as that of a
 * collection with documents. */
#include "base/buffer.h"
#include "collmod.h"
#include "driver_parts.h"
#include "shell.h"
#include "spec.h"

static void append_command(ldx_buffer *b, bson_t *command) {
  if (b->length) ldx_buffer_append(b, ";\n");
  ldx_mongo_shell_command(b, command);
  bson_destroy(command);
}

static void append_changes(ldx_buffer *b, const ldx_step *step, ldx_mongo_alterable index) {
  for (bson_t *command; (command = ldx_mongo_next_collmod(step, &index));) append_command(b, command);
}

static void describe_build(ldx_buffer *b, const ldx_step *step) {
  bson_t spec;
  ldx_error error;
  ldx_mongo_alterable built = ldx_mongo_alterable_of(step->definition);
  built.prepare_unique |= built.unique;
  built.unique = false;
  if (ldx_mongo_spec_of(step->definition, step->name, false, &spec, &error)) {
    if (built.prepare_unique && !bson_has_field(&spec, "prepareUnique")) BSON_APPEND_BOOL(&spec, "prepareUnique", true);
    ldx_mongo_shell_create(b, step->relation.name, &spec, step->commit_quorum);
    append_changes(b, step, built);
    bson_destroy(&spec);
  } else {
    ldx_buffer_appendf(b, "// %s", error.message);
  }
}

/* Where it is not known what is there, it may be other in everything. */
static void describe_alter(ldx_buffer *b, const ldx_step *step) {
  const ldx_mongo_alterable wanted = ldx_mongo_alterable_of(step->definition);
  const ldx_mongo_alterable other = {
      .expire_after = -1, .hidden = !wanted.hidden, .prepare_unique = !(wanted.unique || wanted.prepare_unique)};
  append_changes(b, step, step->old ? ldx_mongo_alterable_of(step->old) : other);
}

char *ldx_mongo_describe(ldx_arena *arena, const ldx_step *step) {
  ldx_buffer b;
  ldx_buffer_init(&b, arena);
  switch (step->kind) {
  case LDX_STEP_BUILD:
    describe_build(&b, step);
    break;
  case LDX_STEP_ALTER:
    describe_alter(&b, step);
    break;
  case LDX_STEP_DROP:
    ldx_mongo_shell_collection(&b, step->relation.name);
    ldx_buffer_append(&b, ".dropIndex(");
    ldx_mongo_shell_string(&b, step->name);
    ldx_buffer_append(&b, ")");
    break;
  case LDX_STEP_AWAIT:
    ldx_buffer_appendf(&b, "// waits until %s is built", step->name);
    break;
  default:
    ldx_buffer_append(&b, "// MongoDB has no such step");
  }
  return ldx_buffer_string(&b);
}
