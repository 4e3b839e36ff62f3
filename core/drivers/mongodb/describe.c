/* describe.c: what `perform` would send, as mongosh reads it. It cannot look, so a unique build is described as that of a
 * collection with documents. */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "build.h"
#include "driver_parts.h"
#include "shell.h"
#include "spec.h"

static void append_command(ldx_buffer *b, bson_t *command) {
  if (b->length) ldx_buffer_append(b, ";\n");
  ldx_mongo_shell_command(b, command);
  bson_destroy(command);
}

static void append_conversion(ldx_buffer *b, const ldx_step *step) {
  append_command(b, ldx_mongo_collmod(step->relation.name, step->name, "unique", true, true));
  append_command(b, ldx_mongo_collmod(step->relation.name, step->name, "unique", true, false));
}

static void describe_build(ldx_buffer *b, const ldx_step *step) {
  bson_t spec;
  ldx_error error;
  bool unique = step->definition->unique;
  if (ldx_mongo_spec_of(step->definition, step->name, false, &spec, &error)) {
    if (unique) ldx_mongo_prepare(&spec);
    ldx_mongo_shell_create(b, step->relation.name, &spec, step->commit_quorum);
    if (unique) append_conversion(b, step);
    bson_destroy(&spec);
  } else {
    ldx_buffer_appendf(b, "// %s", error.message);
  }
}

/* All that could differ, for it cannot be known here what does. */
static void describe_alter(ldx_buffer *b, const ldx_step *step) {
  const char *expires = ldx_mongo_option(&step->definition->storage, "expireAfterSeconds");
  const char *hidden = ldx_mongo_option(&step->definition->storage, "hidden");
  bson_t *command = BCON_NEW("collMod", BCON_UTF8(step->relation.name));
  bson_t index;
  BSON_APPEND_DOCUMENT_BEGIN(command, "index", &index);
  BSON_APPEND_UTF8(&index, "name", step->name);
  if (expires) BSON_APPEND_INT64(&index, "expireAfterSeconds", (int64_t)atof(expires));
  BSON_APPEND_BOOL(&index, "hidden", hidden && !strcmp(hidden, "true"));
  bson_append_document_end(command, &index);
  append_command(b, command);
  bool unique = step->definition->unique;
  append_command(b, ldx_mongo_collmod(step->relation.name, step->name, "prepareUnique", unique, false));
  if (unique) append_conversion(b, step);
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
