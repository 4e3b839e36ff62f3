#include "privileges.h"

#include <stdio.h>
#include <string.h>

#include "path.h"

enum { CREATE, DROP, ALTER, FIND, RIGHTS, LOCK_RIGHTS = 3 };

static const char *const of_indexes[RIGHTS] = {
    [CREATE] = "createIndex", [DROP] = "dropIndex", [ALTER] = "collMod", [FIND] = "find"};
/* What a run needs besides. */
static const char *const of_lock[LOCK_RIGHTS] = {"find", "insert", "update"};

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

static void note_actions(const bson_iter_t *privilege, const char *const *rights, size_t count, bool *may) {
  bson_iter_t field, action;
  if (!bson_iter_recurse(privilege, &field) || !bson_iter_find(&field, "actions") ||
      !bson_iter_recurse(&field, &action))
    return;
  while (bson_iter_next(&action))
    for (size_t i = 0; i < count; i++) {
      const char *name = BSON_ITER_HOLDS_UTF8(&action) ? bson_iter_utf8(&action, NULL) : "";
      if (!strcmp(name, rights[i]) || !strcmp(name, "anyAction")) may[i] = true;
    }
}

/* Which of these `rights` the user has, in `may`. */
static void find_rights(const ldx_session *session, const bson_iter_t *privileges, const char *collection,
                        const char *const *rights, size_t count, bool *may) {
  bson_iter_t privilege, resource;
  for (size_t i = 0; i < count; i++) may[i] = false;
  if (!bson_iter_recurse(privileges, &privilege)) return;
  while (bson_iter_next(&privilege))
    if (bson_iter_recurse(&privilege, &resource) && bson_iter_find(&resource, "resource") &&
        covers(&resource, session->database, collection))
      note_actions(&privilege, rights, count, may);
}

/* What is there unfinished, and is to be something more when it is finished (build.c, alter.c). */
static bool is_changed_at_its_end(const ldx_measure *item) {
  const ldx_definition *wanted = item->definition;
  if (!item->build || item->drop || !wanted || !item->live) return false;
  return (wanted->unique && !item->live->definition->unique) ||
         !ldx_definition_storage_equal(wanted, item->live->definition);
}

/* Whether the collection holds a document decides how something unique is built (build.c). */
static bool is_looked_into(const ldx_measure *item) {
  return item->build && item->definition && item->definition->unique && !item->live && item->relation->kind != '-';
}

static void find_needs(const ldx_measure *item, bool *needs) {
  bool any = !item->build && !item->drop && !item->alter;
  needs[CREATE] = any || item->build;
  needs[DROP] = any || item->drop;
  needs[ALTER] = any || item->alter || is_changed_at_its_end(item);
  needs[FIND] = is_looked_into(item);
}

static void check_item(const ldx_session *session, const bson_iter_t *privileges, ldx_measure *item) {
  bool may[RIGHTS], needs[RIGHTS], lock[LOCK_RIGHTS];
  char lacks[64] = "";
  find_rights(session, privileges, item->relation->name.name, of_indexes, RIGHTS, may);
  find_rights(session, privileges, LDX_MONGO_LOCK, of_lock, LOCK_RIGHTS, lock);
  find_needs(item, needs);
  for (size_t i = 0; i < RIGHTS; i++) {
    size_t length = strlen(lacks);
    if (needs[i] && !may[i]) snprintf(lacks + length, sizeof lacks - length, "%s%s", length ? ", " : "", of_indexes[i]);
  }
  if (*lacks)
    snprintf(item->forbidden, sizeof item->forbidden, "user \"%.60s\" has no right to %s there", session->info.user,
             lacks);
  else if (!(lock[0] && lock[1] && lock[2]))
    snprintf(item->forbidden, sizeof item->forbidden,
             "user \"%.60s\" may not write to " LDX_MONGO_LOCK ", where the run lock is kept", session->info.user);
}

/* `privileges`: a list within `reply`, which the caller destroys. `*known`: false where a server that checks nobody has
 * authenticated nobody. */
static bool ask(ldx_session *session, bson_t *reply, bool *known, bson_iter_t *privileges, ldx_error *error) {
  bson_t *command = BCON_NEW("connectionStatus", BCON_INT32(1), "showPrivileges", BCON_BOOL(true));
  bool ok = ldx_mongo_command(session, "admin", command, reply, error);
  *known = ok && ldx_mongo_count_at(reply, "authInfo.authenticatedUsers") > 0 &&
           ldx_mongo_find(reply, "authInfo.authenticatedUserPrivileges", privileges);
  bson_destroy(command);
  return ok;
}

bool ldx_mongo_forbidden(ldx_session *session, ldx_measure *items, size_t count, ldx_error *error) {
  bson_t reply;
  bson_iter_t privileges;
  bool known, ok = ask(session, &reply, &known, &privileges, error);
  for (size_t i = 0; known && i < count; i++) check_item(session, &privileges, &items[i]);
  bson_destroy(&reply);
  return ok;
}

bool ldx_mongo_may_alter(ldx_session *session, const char *collection, bool *may, ldx_error *error) {
  bson_t reply;
  bson_iter_t privileges;
  bool rights[RIGHTS], known, ok = ask(session, &reply, &known, &privileges, error);
  if (known) find_rights(session, &privileges, collection, of_indexes, RIGHTS, rights);
  *may = !known || rights[ALTER];
  bson_destroy(&reply);
  return ok;
}
