#include "privileges.h"

#include <stdio.h>
#include <string.h>

static const char *const needed[] = {"createIndex", "dropIndex", "collMod"};

enum { NEEDED = sizeof needed / sizeof *needed };

static const char *text_of(const bson_iter_t *document, const char *name) {
  bson_iter_t field;
  bool found = bson_iter_recurse(document, &field) && bson_iter_find(&field, name) && BSON_ITER_HOLDS_UTF8(&field);
  return found ? bson_iter_utf8(&field, NULL) : NULL;
}

/* An empty name stands for any; a resource of the cluster has no names at all. */
static bool covers(const bson_iter_t *resource, const char *database, const char *collection) {
  bson_iter_t any;
  if (bson_iter_recurse(resource, &any) && bson_iter_find(&any, "anyResource") && bson_iter_as_bool(&any)) return true;
  const char *db = text_of(resource, "db"), *name = text_of(resource, "collection");
  return db && name && (!*db || !strcmp(db, database)) && (!*name || !strcmp(name, collection));
}

static void note_actions(const bson_iter_t *privilege, bool *may) {
  bson_iter_t field, action;
  if (!bson_iter_recurse(privilege, &field) || !bson_iter_find(&field, "actions") ||
      !bson_iter_recurse(&field, &action))
    return;
  while (bson_iter_next(&action))
    for (size_t i = 0; i < NEEDED; i++) {
      const char *name = BSON_ITER_HOLDS_UTF8(&action) ? bson_iter_utf8(&action, NULL) : "";
      if (!strcmp(name, needed[i]) || !strcmp(name, "anyAction")) may[i] = true;
    }
}

static void check_item(const ldx_session *session, const bson_iter_t *privileges, ldx_measure *item) {
  bson_iter_t privilege, resource;
  bool may[NEEDED] = {false};
  const char *collection = item->relation->name.name;
  if (!bson_iter_recurse(privileges, &privilege)) return;
  while (bson_iter_next(&privilege))
    if (bson_iter_recurse(&privilege, &resource) && bson_iter_find(&resource, "resource") &&
        covers(&resource, session->database, collection))
      note_actions(&privilege, may);
  char lacks[64] = "";
  for (size_t i = 0; i < NEEDED; i++) {
    size_t length = strlen(lacks);
    if (!may[i]) snprintf(lacks + length, sizeof lacks - length, "%s%s", length ? ", " : "", needed[i]);
  }
  if (*lacks)
    snprintf(item->forbidden, sizeof item->forbidden, "user \"%.60s\" has no right to %s there", session->info.user,
             lacks);
}

/* A server that checks nobody has authenticated nobody. */
bool ldx_mongo_forbidden(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  bson_t *command = BCON_NEW("connectionStatus", BCON_INT32(1), "showPrivileges", BCON_BOOL(true)), reply;
  bson_iter_t iter, users, user, privileges;
  bool ok = ldx_mongo_command(session, "admin", command, &reply, error);
  bool known = ok && bson_iter_init(&iter, &reply) &&
               bson_iter_find_descendant(&iter, "authInfo.authenticatedUsers", &users) &&
               bson_iter_recurse(&users, &user) && bson_iter_next(&user) && bson_iter_init(&iter, &reply) &&
               bson_iter_find_descendant(&iter, "authInfo.authenticatedUserPrivileges", &privileges);
  for (size_t i = 0; known && i < count; i++) check_item(session, &privileges, &items[i]);
  bson_destroy(&reply);
  bson_destroy(command);
  return ok;
}
