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

static bool says(const ldx_definition *d, const char *option) {
  const char *value = d ? ldx_mongo_option(&d->storage, option) : NULL;
  return value && !strcmp(value, "true");
}

static double expiry(const ldx_definition *d) {
  const char *value = d ? ldx_mongo_option(&d->storage, "expireAfterSeconds") : NULL;
  return value ? atof(value) : -1;
}

/* What differs from the old one; all that could, where that is not known. */
static void describe_alter(ldx_buffer *b, const ldx_step *step) {
  const ldx_definition *wanted = step->definition, *old = step->old;
  bool expires = expiry(wanted) >= 0 && (!old || expiry(wanted) != expiry(old));
  bool hides = !old || says(wanted, "hidden") != says(old, "hidden");
  if (expires || hides) {
    bson_t *command = BCON_NEW("collMod", BCON_UTF8(step->relation.name));
    bson_t index;
    BSON_APPEND_DOCUMENT_BEGIN(command, "index", &index);
    BSON_APPEND_UTF8(&index, "name", step->name);
    if (expires) BSON_APPEND_INT64(&index, "expireAfterSeconds", (int64_t)expiry(wanted));
    if (hides) BSON_APPEND_BOOL(&index, "hidden", says(wanted, "hidden"));
    bson_append_document_end(command, &index);
    append_command(b, command);
  }
  if (!old || (says(old, "prepareUnique") != wanted->unique && !old->unique))
    append_command(b, ldx_mongo_collmod(step->relation.name, step->name, "prepareUnique", wanted->unique, false));
  if (wanted->unique && !(old && old->unique)) append_conversion(b, step);
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
