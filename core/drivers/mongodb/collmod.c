#include "collmod.h"

#include <stdlib.h>
#include <string.h>

#include "path.h"
#include "spec.h"

ldx_mongo_alterable ldx_mongo_alterable_of(const ldx_definition *definition) {
  const char *expires = ldx_mongo_option(&definition->storage, "expireAfterSeconds");
  const char *hidden = ldx_mongo_option(&definition->storage, "hidden");
  const char *prepared = ldx_mongo_option(&definition->storage, "prepareUnique");
  return (ldx_mongo_alterable){
      .expire_after = expires ? atof(expires) : -1,
      .hidden = hidden && !strcmp(hidden, "true"),
      .prepare_unique = prepared && !strcmp(prepared, "true"),
      .unique = definition->unique,
  };
}

ldx_mongo_alterable ldx_mongo_alterable_in(const bson_t *spec) {
  static const char seconds[] = "expireAfterSeconds";
  return (ldx_mongo_alterable){
      .expire_after = bson_has_field(spec, seconds) ? ldx_mongo_number_at(spec, seconds) : -1,
      .hidden = ldx_mongo_flag_at(spec, "hidden"),
      .prepare_unique = ldx_mongo_flag_at(spec, "prepareUnique"),
      .unique = ldx_mongo_flag_at(spec, "unique"),
  };
}

bson_t *ldx_mongo_collmod(const char *collection, const char *name, const char *option, bool value) {
  return BCON_NEW("collMod", BCON_UTF8(collection), "index", "{", "name", BCON_UTF8(name), option, BCON_BOOL(value),
                  "}");
}

static bson_t *next_option(const ldx_step *step, const ldx_mongo_alterable *wanted, ldx_mongo_alterable *index) {
  bool expires = wanted->expire_after >= 0 && wanted->expire_after != index->expire_after;
  bool hides = wanted->hidden != index->hidden;
  if (!expires && !hides) return NULL;
  bson_t *command = BCON_NEW("collMod", BCON_UTF8(step->relation.name)), changes;
  BSON_APPEND_DOCUMENT_BEGIN(command, "index", &changes);
  BSON_APPEND_UTF8(&changes, "name", step->name);
  if (expires) BSON_APPEND_INT64(&changes, "expireAfterSeconds", (int64_t)wanted->expire_after);
  if (hides) BSON_APPEND_BOOL(&changes, "hidden", wanted->hidden);
  bson_append_document_end(command, &changes);
  if (expires) index->expire_after = wanted->expire_after;
  index->hidden = wanted->hidden;
  return command;
}

/* prepareUnique makes it refuse new duplicates; a dry run then finds all old ones; without any, one change of the catalog
 * makes it unique. What an interrupted conversion left behind goes where that is no longer wanted. The server takes none of
 * it in one command with other changes. */
bson_t *ldx_mongo_next_collmod(const ldx_step *step, ldx_mongo_alterable *index) {
  const char *collection = step->relation.name, *name = step->name;
  const ldx_mongo_alterable wanted = ldx_mongo_alterable_of(step->definition);
  bson_t *command = next_option(step, &wanted, index);
  if (command || index->unique) return command;
  const bool refuses = wanted.unique || wanted.prepare_unique;
  if (index->prepare_unique != refuses) {
    index->prepare_unique = refuses;
    return ldx_mongo_collmod(collection, name, "prepareUnique", refuses);
  }
  if (!wanted.unique) return NULL;
  command = ldx_mongo_collmod(collection, name, "unique", true);
  if (!index->checked) BSON_APPEND_BOOL(command, "dryRun", true);
  index->unique = index->checked;
  index->checked = true;
  return command;
}
