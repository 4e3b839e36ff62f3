#include "members.h"

#include <stdio.h>
#include <string.h>

#include "aside.h"
#include "base/buffer.h"
#include "path.h"

/* maxNumActiveUserIndexBuilds, where nobody says otherwise. */
enum { DEFAULT_SLOTS = 3 };

static bool ask(ldx_session *session, const char *database, bson_t *command, bson_t *reply) {
  ldx_error ignored;
  bool ok = ldx_mongo_aside(session, database, command, reply, &ignored);
  bson_destroy(command);
  return ok;
}

size_t ldx_mongo_build_slots(ldx_session *session) {
  bson_t reply;
  size_t slots = DEFAULT_SLOTS;
  bson_t *command = BCON_NEW("getParameter", BCON_INT32(1), "maxNumActiveUserIndexBuilds", BCON_INT32(1));
  if (ask(session, "admin", command, &reply) && bson_has_field(&reply, "maxNumActiveUserIndexBuilds"))
    slots = (size_t)ldx_mongo_integer_at(&reply, "maxNumActiveUserIndexBuilds");
  bson_destroy(&reply);
  return slots;
}

/* Whether the array at `path` holds that text. */
static bool lists(const bson_t *reply, const char *path, const char *text) {
  bson_iter_t element;
  if (!ldx_mongo_members_at(reply, path, &element)) return false;
  while (bson_iter_next(&element))
    if (BSON_ITER_HOLDS_UTF8(&element) && !strcmp(bson_iter_utf8(&element, NULL), text)) return true;
  return false;
}

/* For the commit of a build: an arbiter has none of the data. */
static bool has_vote(const bson_t *member) {
  return ldx_mongo_integer_at(member, "votes") > 0 && !ldx_mongo_flag_at(member, "arbiterOnly");
}

/* The member's state, where this user may know it. */
static const char *state_of(const bson_t *status, const char *member) {
  bson_iter_t element;
  bson_t each;
  if (!ldx_mongo_members_at(status, "members", &element)) return "";
  while (bson_iter_next(&element)) {
    const char *name = ldx_mongo_view(&element, &each) ? ldx_mongo_text_at(&each, "name") : "";
    if (*name && !strcmp(name, member)) return ldx_mongo_text_at(&each, "stateStr");
  }
  return "";
}

bool ldx_mongo_find_build(ldx_session *session, const char *collection, const char *name, char *kept_in, size_t size,
                          bson_t *reply) {
  bson_t collections;
  bson_iter_t uuid;
  snprintf(kept_in, size, LDX_MONGO_BUCKETS "%s", collection);
  bson_t *command =
      BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", "{", "$in", "[", BCON_UTF8(collection),
               BCON_UTF8(kept_in), "]", "}", "info.uuid", "{", "$exists", BCON_BOOL(true), "}", "}");
  bool ok =
      ask(session, NULL, command, &collections) && ldx_mongo_find(&collections, "cursor.firstBatch.0.info.uuid", &uuid);
  snprintf(kept_in, size, "%s", ok ? ldx_mongo_text_at(&collections, "cursor.firstBatch.0.name") : collection);
  if (ok) {
    command = BCON_NEW("find", "system.indexBuilds", "filter", "{", "indexNames", BCON_UTF8(name), "collectionUUID",
                       BCON_ITER(&uuid), "}");
    ok = ask(session, "config", command, reply);
  } else {
    bson_init(reply);
  }
  bson_destroy(&collections);
  return ok;
}

void ldx_mongo_missing_votes(ldx_session *session, const char *collection, const char *name, ldx_progress *progress) {
  static const char ready[] = "cursor.firstBatch.0.commitReadyMembers";
  bson_t build, hello, status, config, member;
  bson_iter_t element;
  ldx_buffer b;
  char kept_in[LDX_MONGO_LONGEST_NAME];
  ldx_buffer_init(&b, NULL);
  if (session->sharded || session->stand_alone) return;
  bool ok = ldx_mongo_find_build(session, collection, name, kept_in, sizeof kept_in, &build);
  bool known = ask(session, "admin", BCON_NEW("hello", BCON_INT32(1)), &hello);
  ask(session, "admin", BCON_NEW("replSetGetStatus", BCON_INT32(1)), &status);
  /* `hello` leaves out who is hidden, and does not say who has a vote. */
  ask(session, "admin", BCON_NEW("replSetGetConfig", BCON_INT32(1)), &config);
  /* It waits once it has voted itself. */
  const char *me = known ? ldx_mongo_text_at(&hello, "me") : "";
  if (ok && *me && lists(&build, ready, me)) {
    progress->draining = true;
    snprintf(progress->phase, sizeof progress->phase, "waiting for other members to finish");
    if (ldx_mongo_members_at(&config, "config.members", &element))
      while (bson_iter_next(&element)) {
        if (!ldx_mongo_view(&element, &member) || !has_vote(&member)) continue;
        const char *host = ldx_mongo_text_at(&member, "host"), *state = state_of(&status, host);
        if (lists(&build, ready, host)) continue;
        ldx_buffer_appendf(&b, "%s%s", b.length ? ", " : "", host);
        if (*state) ldx_buffer_appendf(&b, " %s%s%s", *state == '(' ? "" : "(", state, *state == '(' ? "" : ")");
      }
    snprintf(progress->blocker, sizeof progress->blocker, "%s", ldx_buffer_string(&b));
  }
  bson_destroy(&build);
  bson_destroy(&hello);
  bson_destroy(&status);
  bson_destroy(&config);
  ldx_buffer_free(&b);
}
