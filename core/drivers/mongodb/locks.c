#include "locks.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "aside.h"
#include "path.h"

/* Microseconds: a transaction that is no older is gone before it matters. */
enum { YOUNG = 1000000 };

static bool lock_info(ldx_session *session, bson_t *reply) {
  bson_t *command = BCON_NEW("lockInfo", BCON_INT32(1));
  ldx_error ignored;
  bool ok = ldx_mongo_aside(session, "admin", command, reply, &ignored);
  bson_destroy(command);
  return ok;
}

/* Operations of all users that match, transactions that do nothing among them, the oldest transaction first. `reply` is
 * always initialised. */
static bool operations(ldx_session *session, const bson_t *match, bson_t *reply) {
  ldx_error ignored;
  bson_t *command = BCON_NEW("aggregate", BCON_INT32(1), "pipeline", "[", "{", "$currentOp", "{", "allUsers",
                             BCON_BOOL(true), "idleSessions", BCON_BOOL(true), "localOps", BCON_BOOL(true), "}", "}",
                             "{", "$match", BCON_DOCUMENT(match), "}", "{", "$sort", "{", "transaction.timeOpenMicros",
                             BCON_INT32(-1), "}", "}", "]", "cursor", "{", "}");
  bool ok = ldx_mongo_aside(session, "admin", command, reply, &ignored);
  bson_destroy(command);
  return ok;
}

/* --- holders ------------------------------------------------------------------------------------------------------------ */

/* The 16 bytes of `7d0c…-…`, which ends at a quotation mark, or sooner. */
static bool read_uuid(const char *from, uint8_t *id) {
  size_t digits = 0;
  memset(id, 0, 16);
  for (const char *p = from; digits < 32 && (isxdigit((unsigned char)*p) || *p == '-'); p++) {
    if (*p == '-') continue;
    int digit = isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10;
    id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | digit);
    digits++;
  }
  return digits == 32;
}

/* Which operation a lock's holder is: by its number, or, of a transaction that does nothing, by its logical session. */
static bool match_of(const bson_t *holder, bson_t *match) {
  static const char uuid[] = "UUID(\"";
  bson_iter_t opid;
  uint8_t id[16];
  const char *debug = strstr(ldx_mongo_text_at(holder, "debugInfo"), uuid);
  if (ldx_mongo_find(holder, "clientInfo.opid", &opid)) return bson_append_iter(match, "opid", -1, &opid);
  return debug && read_uuid(debug + strlen(uuid), id) &&
         bson_append_binary(match, "lsid.id", -1, BSON_SUBTYPE_UUID, id, sizeof id);
}

/* The operation that has what `lock` is about and is in a transaction of more than `age`; 0: or in none. Of several the
 * one whose transaction is the oldest. */
static bool describe_holder(ldx_session *session, const bson_t *lock, int64_t age, char *who, size_t size) {
  bson_iter_t each;
  bson_t match = BSON_INITIALIZER, holders, reply, operation;
  uint32_t count = 0;
  bool found = false;
  if (!ldx_mongo_members_at(lock, "granted", &each)) return false;
  bson_append_array_begin(&match, "$or", -1, &holders);
  while (bson_iter_next(&each)) {
    bson_t holder, own = BSON_INITIALIZER;
    char place[16];
    snprintf(place, sizeof place, "%u", count);
    if (ldx_mongo_view(&each, &holder) && match_of(&holder, &own) && bson_append_document(&holders, place, -1, &own))
      count++;
    bson_destroy(&own);
  }
  bson_append_array_end(&match, &holders);
  if (age) BCON_APPEND(&match, "transaction.timeOpenMicros", "{", "$gt", BCON_INT64(age), "}");
  if (count) {
    found = operations(session, &match, &reply) && ldx_mongo_document_at(&reply, "cursor.firstBatch.0", &operation);
    if (found) ldx_mongo_who(who, size, &operation);
    bson_destroy(&reply);
  }
  bson_destroy(&match);
  return found;
}

/* --- a waiting operation ------------------------------------------------------------------------------------------------ */

/* Whether an operation is among those that wait for a lock. */
static bool is_waiting(const bson_t *lock, int64_t opid) {
  bson_iter_t each;
  bson_t waiter;
  if (!ldx_mongo_members_at(lock, "pending", &each)) return false;
  while (bson_iter_next(&each))
    if (ldx_mongo_view(&each, &waiter) && ldx_mongo_integer_at(&waiter, "clientInfo.opid") == opid) return true;
  return false;
}

bool ldx_mongo_find_holder(ldx_session *session, const ldx_mongo_operation *operation, char *who, size_t size) {
  int64_t opid = ldx_mongo_integer_at(operation->document, "opid");
  bson_t reply, lock;
  bson_iter_t each;
  bool found = false;
  if (!opid) return false; /* of a shard */
  if (lock_info(session, &reply) && ldx_mongo_members_at(&reply, "lockInfo", &each))
    while (!found && bson_iter_next(&each))
      found = ldx_mongo_view(&each, &lock) && is_waiting(&lock, opid) && describe_holder(session, &lock, 0, who, size);
  bson_destroy(&reply);
  return found;
}

/* --- transactions on a collection --------------------------------------------------------------------------------------- */

/* 1: there are some that are old enough; 0: none; -1: this user is not told. */
static int old_transactions(ldx_session *session) {
  bson_t *match = BCON_NEW("transaction.timeOpenMicros", "{", "$gt", BCON_INT64(YOUNG), "}"), reply;
  int any = operations(session, match, &reply) ? ldx_mongo_count_at(&reply, "cursor.firstBatch") > 0 : -1;
  bson_destroy(&reply);
  bson_destroy(match);
  return any;
}

/* `{8218500999688222086: Collection, 1300971972047140230, shop.users}`: the collection of that database, into `name`. */
static bool read_collection(const bson_t *lock, const char *database, char *name, size_t size) {
  static const char kind[] = ": Collection, ";
  const char *resource = strstr(ldx_mongo_text_at(lock, "resourceId"), kind);
  const char *space = resource ? strchr(resource + strlen(kind), ' ') : NULL;
  size_t length = strlen(database);
  if (!space || strncmp(space + 1, database, length) != 0 || space[1 + length] != '.') return false;
  const char *own = space + 1 + length + 1;
  size_t end = strlen(own);
  if (!end || own[end - 1] != '}' || end > size) return false;
  memcpy(name, own, end - 1);
  name[end - 1] = '\0';
  return true;
}

/* `collection`: the one that is meant, NULL for any. `name`: which it is. */
static ldx_holding find_transaction(ldx_session *session, const char *collection, char *name, size_t length, char *who,
                                    size_t size) {
  *who = '\0';
  int any = session->sharded ? -1 : old_transactions(session);
  if (any <= 0) return any ? LDX_HOLDING_UNSEEN : LDX_HOLDING_NOBODY;
  bson_t reply, lock;
  bson_iter_t each;
  ldx_holding hold = lock_info(session, &reply) ? LDX_HOLDING_NOBODY : LDX_HOLDING_UNSEEN;
  if (hold == LDX_HOLDING_NOBODY && ldx_mongo_members_at(&reply, "lockInfo", &each))
    while (hold == LDX_HOLDING_NOBODY && bson_iter_next(&each))
      if (ldx_mongo_view(&each, &lock) && read_collection(&lock, session->database, name, length) &&
          (!collection || !strcmp(name, collection)) && describe_holder(session, &lock, YOUNG, who, size))
        hold = LDX_HOLDING_SOMEBODY;
  bson_destroy(&reply);
  return hold;
}

ldx_holding ldx_mongo_find_transaction(ldx_session *session, const char *collection, char *who, size_t size) {
  char name[LDX_MONGO_LONGEST_NAME];
  return find_transaction(session, collection, name, sizeof name, who, size);
}

ldx_holding ldx_mongo_find_any_transaction(ldx_session *session, char *collection, size_t length, char *who,
                                           size_t size) {
  return find_transaction(session, NULL, collection, length, who, size);
}
