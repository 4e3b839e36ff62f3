/* lock.c: one run at a time per database, by a lease in a document of that database.
 *
 * `lunadex.lock` holds { _id: "run", owner, fence, since, expires, who }. Whoever finds it expired takes it, in one write
 * that compares and sets by the server's clock, so that of two that come together one gets it. The holder puts the end off
 * each second; if it stops, or cannot reach a majority, the lease ends by itself. `fence` grows with each owner and is
 * never set back, for whatever is to tell a late owner from the present one (history.c).
 *
 * It lives in no connection: a session that loses its link has lost nothing until the lease ends.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "aside.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "driver_parts.h"
#include "path.h"

#define REMOVAL "db.getCollection(\"" LDX_MONGO_LOCK "\").deleteOne({ _id: \"run\" })"
/* What of the document is of interest, with the server's time beside it. */
#define LEASE_FIELDS                                                                                                   \
  "owner", BCON_INT32(1), "fence", BCON_INT32(1), "since", BCON_INT32(1), "expires", BCON_INT32(1), "who",             \
      BCON_INT32(1), "now", "$$NOW"

enum { LEASE_MS = 30000, MAJORITY_MS = 4000, TOKEN_BYTES = 16 };
/* How much earlier than the server we take the lease for ended: clocks of members differ, and run at different speeds. */
static const double margin = 5;
/* A client does not look for a server for 5 s after it found none (libmongoc). */
static const double unlock_patience = 6;

static bool new_token(ldx_session *session, ldx_error *error) {
  uint8_t bytes[TOKEN_BYTES];
  if (session->token) return true; /* of a try whose answer was lost */
  session->token = malloc(2 * TOKEN_BYTES + 1);
  if (!session->token || getrandom(bytes, sizeof bytes, 0) != TOKEN_BYTES) {
    free(session->token);
    session->token = NULL;
    return ldx_error_set(error, LDX_ERROR_INTERNAL, "no memory, or no random numbers");
  }
  for (size_t i = 0; i < TOKEN_BYTES; i++) snprintf(session->token + 2 * i, 3, "%02x", bytes[i]);
  return true;
}

static void forget_token(ldx_session *session) {
  free(session->token);
  session->token = NULL;
}

/* Runs findAndModify: what the document is now, in `reply`, which the caller destroys. */
static bool change(ldx_session *session, bson_t *query, bson_t *update, bool upsert, bson_t *reply, ldx_error *error) {
  bson_t *command =
      BCON_NEW("findAndModify", LDX_MONGO_LOCK, "query", BCON_DOCUMENT(query), "update", "[", BCON_DOCUMENT(update),
               "]", "upsert", BCON_BOOL(upsert), "new", BCON_BOOL(true), "fields", "{", LEASE_FIELDS, "}",
               "writeConcern", "{", "w", "majority", "wtimeout", BCON_INT32(MAJORITY_MS), "}");
  bool ok = ldx_mongo_aside(session, NULL, command, reply, error);
  bson_destroy(command);
  bson_destroy(query);
  bson_destroy(update);
  return ok;
}

/* In seconds. */
static int64_t moment(const bson_t *lease, const char *name) {
  bson_iter_t found;
  bool is = ldx_mongo_find(lease, name, &found) && BSON_ITER_HOLDS_DATE_TIME(&found);
  return is ? bson_iter_date_time(&found) / 1000 : 0;
}

/* Whether its end is further ahead than that of any lease: the server's clock was set back, or somebody wrote it. */
static bool is_too_long(const bson_t *lease) {
  return moment(lease, "expires") - moment(lease, "now") > 2 * LEASE_MS / 1000;
}

/* `pid 4711 app@web-1 "lunadex", since 0:12; its lease ends at 10:11:12Z unless it is renewed` */
static void holder(const bson_t *lease, char *to, size_t size) {
  char until[32] = "";
  const char *application = ldx_mongo_text_at(lease, "who.application");
  time_t ends = (time_t)moment(lease, "expires");
  struct tm parts;
  ldx_buffer b;
  ldx_buffer_init(&b, NULL);
  if (gmtime_r(&ends, &parts))
    strftime(until, sizeof until, is_too_long(lease) ? "%Y-%m-%d %H:%M:%SZ" : "%H:%M:%SZ", &parts);
  ldx_buffer_appendf(&b, "pid %lld %s@%s", (long long)ldx_mongo_integer_at(lease, "who.pid"),
                     ldx_mongo_text_at(lease, "who.user"), ldx_mongo_text_at(lease, "who.host"));
  if (*application) ldx_buffer_appendf(&b, " \"%s\"", application);
  ldx_buffer_append(&b, ", since ");
  ldx_buffer_append_age(&b, (double)(moment(lease, "now") - moment(lease, "since")));
  ldx_buffer_appendf(&b, "; its lease ends at %s unless it is renewed", until);
  snprintf(to, size, "%s", ldx_buffer_string(&b));
  ldx_buffer_free(&b);
}

/* Where nobody has to say who they are to the server, as the machine knows us. */
static bson_t *ourselves(const ldx_session *session) {
  char host[256] = "", memory[1024];
  struct passwd entry, *account = NULL;
  const char *user = session->info.user, *application = ldx_mongoc.uri_get_appname(session->uri);
  if (gethostname(host, sizeof host - 1) != 0) *host = '\0';
  if (!*user && getpwuid_r(geteuid(), &entry, memory, sizeof memory, &account) == 0 && account) user = account->pw_name;
  return BCON_NEW("host", BCON_UTF8(host), "pid", BCON_INT64(getpid()), "user", BCON_UTF8(user), "application",
                  BCON_UTF8(application ? application : ""));
}

/* What has the name of the lock's collection and is none that a lease can be kept in; NULL: it is an ordinary one. */
static const char *odd_kind(ldx_session *session) {
  bson_t *command = BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", LDX_MONGO_LOCK, "}"), reply;
  ldx_error ignored;
  bool ok = ldx_mongo_aside(session, NULL, command, &reply, &ignored);
  const char *type = ok ? ldx_mongo_text_at(&reply, "cursor.firstBatch.0.type") : "", *kind = NULL;
  if (!strcmp(type, "view")) kind = "a view";
  if (!strcmp(type, "timeseries")) kind = "a time-series collection";
  if (ok && ldx_mongo_flag_at(&reply, "cursor.firstBatch.0.options.capped")) kind = "a capped collection";
  bson_destroy(&reply);
  bson_destroy(command);
  return kind;
}

static bool not_ours(const char *kind, ldx_error *error) {
  ldx_error_set(error, LDX_ERROR_DEPENDENT, "the run lock cannot be taken: " LDX_MONGO_LOCK " is %s",
                kind ? kind : "not Lunadex's, but somebody's");
  if (kind)
    ldx_error_hint(error,
                   "Runs on this database see each other by an ordinary collection of that name, which the first "
                   "one makes: make room for it.");
  else
    ldx_error_hint(error,
                   "Rename what has that name; it is where runs on this database see each other. If it is a lease that "
                   "was damaged, this removes it: " REMOVAL);
  return false;
}

static bool is_anothers(const bson_t *lease, ldx_error *error) {
  ldx_error_set(error, LDX_ERROR_LOCK_HELD, "another run holds the lock of this database");
  if (error) holder(lease, error->detail, sizeof error->detail);
  if (is_too_long(lease))
    ldx_error_hint(error, "No lease is that long, unless the server's clock was set back. If no run is at it, this "
                          "ends it: " REMOVAL);
  else
    ldx_error_hint(error, "Wait for it to end; `lunadex status` shows what it does.");
  return false;
}

/* What we, or another run of ours, could have written. */
static bool is_lease(const bson_t *document) {
  bson_iter_t found;
  if (!ldx_mongo_find(document, "expires", &found) || !BSON_ITER_HOLDS_DATE_TIME(&found)) return false;
  return ldx_mongo_find(document, "fence", &found) && BSON_ITER_HOLDS_INT(&found);
}

bool ldx_mongo_lock(ldx_session *session, ldx_error *error) {
  bson_t reply, lease;
  if (!new_token(session, error)) return false;
  bson_t *who = ourselves(session);
  /* Whatever else somebody keeps under that name has no fence that could grow, and stays as it is. */
  bson_t *grows = BCON_NEW("$and", "[", "{", "$in", "[", "{", "$type", "$fence", "}", "[", "int", "long", "]", "]", "}",
                           "{", "$lt", "[", "$fence", BCON_INT64(INT64_MAX), "]", "}", "]");
  /* A missing time comes before every other: nobody has it then. */
  bson_t *is_free =
      BCON_NEW("$and", "[", "{", "$lte", "[", "$expires", "$$NOW", "]", "}", "{", "$or", "[", BCON_DOCUMENT(grows), "{",
               "$eq", "[", "$$ROOT", "{", "_id", "run", "}", "]", "}", "]", "}", "]");
  bson_t *update = BCON_NEW("$replaceWith", "{", "$cond", "[", BCON_DOCUMENT(is_free), "{", "_id", "$_id", "owner",
                            BCON_UTF8(session->token), "fence", "{", "$add", "[", "{", "$ifNull", "[", "$fence",
                            BCON_INT64(0), "]", "}", BCON_INT64(1), "]", "}", "since", "$$NOW", "expires", "{", "$add",
                            "[", "$$NOW", BCON_INT32(LEASE_MS), "]", "}", "who", "{", "$literal", BCON_DOCUMENT(who),
                            "}", "}", "$$ROOT", "]", "}");
  bson_destroy(grows);
  bson_destroy(is_free);
  bson_destroy(who);
  bool ok = change(session, BCON_NEW("_id", "run"), update, true, &reply, error);
  if (ok && !ldx_mongo_document_at(&reply, "value", &lease)) {
    ok = ldx_error_set(error, LDX_ERROR_SERVER, "the server does not say who has the run lock");
    forget_token(session);
  } else if (ok && strcmp(ldx_mongo_text_at(&lease, "owner"), session->token) != 0) {
    bool held = is_lease(&lease) && moment(&lease, "expires") >= moment(&lease, "now");
    ok = held ? is_anothers(&lease, error) : not_ours(NULL, error);
    forget_token(session);
  }
  if (!ok && error && error->code == LDX_ERROR_PERMISSION) {
    ldx_error_set(error, LDX_ERROR_PERMISSION,
                  "user \"%s\" may not write to " LDX_MONGO_LOCK ", where the run lock is kept", session->info.user);
    ldx_error_hint(error, LDX_MONGO_ROLES);
  }
  const char *odd = !ok && error && error->native[0] ? odd_kind(session) : NULL;
  if (odd) not_ours(odd, error);
  bson_destroy(&reply);
  return ok;
}

static bson_t *own(const ldx_session *session) {
  return BCON_NEW("_id", "run", "owner", BCON_UTF8(session->token));
}

static bool give_back(ldx_session *session, ldx_error *error) {
  bson_t reply;
  /* The document stays, for its fence. */
  bson_t *update = BCON_NEW("$unset", "[", "owner", "since", "expires", "who", "]");
  bool ok = change(session, own(session), update, false, &reply, error);
  bson_destroy(&reply);
  return ok;
}

bool ldx_mongo_unlock(ldx_session *session, ldx_error *error) {
  if (!session->token) return true;
  ldx_error why;
  double begun = ldx_clock_now();
  bool ok = give_back(session, &why);
  /* A server that was away for a moment: the lease would keep others waiting for half a minute. */
  while (!ok && why.code == LDX_ERROR_CONNECT && ldx_clock_now() - begun < unlock_patience) {
    ldx_clock_sleep(0.2);
    ok = give_back(session, &why);
  }
  if (ok)
    forget_token(session);
  else if (error)
    *error = why;
  return ok;
}

/* `lease`: of `reply`, which the caller destroys; empty: there is none. */
static bool find_lease(ldx_session *session, bson_t *reply, bson_t *lease, ldx_error *error) {
  static const uint8_t empty[] = {5, 0, 0, 0, 0};
  bson_t *command =
      BCON_NEW("find", LDX_MONGO_LOCK, "filter", "{", "_id", "run", "}", "projection", "{", LEASE_FIELDS, "}");
  bool ok = ldx_mongo_aside(session, NULL, command, reply, error);
  if (!ok || !ldx_mongo_document_at(reply, "cursor.firstBatch.0", lease) || !bson_has_field(lease, "fence"))
    bson_init_static(lease, empty, sizeof empty);
  bson_destroy(command);
  return ok;
}

static bool is_held(const bson_t *lease) {
  return is_lease(lease) && *ldx_mongo_text_at(lease, "owner") && moment(lease, "expires") > moment(lease, "now");
}

bool ldx_mongo_lock_holder(ldx_session *session, char *who, size_t size, int64_t *pid, ldx_error *error) {
  bson_t reply, lease;
  bool ok = find_lease(session, &reply, &lease, error);
  *who = '\0';
  if (is_held(&lease)) {
    holder(&lease, who, size);
    *pid = ldx_mongo_integer_at(&lease, "who.pid");
  }
  bson_destroy(&reply);
  return ok;
}

/* After it turned out not to be ours: whose it is, or was meanwhile. */
static bool lost(ldx_session *session, ldx_error *error) {
  ldx_error ignored;
  bson_t reply, lease;
  bool known = find_lease(session, &reply, &lease, &ignored);
  forget_token(session);
  ldx_error_set(error, LDX_ERROR_LOCK_LOST, "%s",
                !known               ? "it is another run's by now, or was removed"
                : is_held(&lease)    ? "another run has taken the lock"
                : bson_empty(&lease) ? "the run lock was removed"
                                     : "another run has had the lock meanwhile");
  if (error && is_held(&lease)) holder(&lease, error->detail, sizeof error->detail);
  bson_destroy(&reply);
  return false;
}

bool ldx_mongo_hold(ldx_session *session, double *good_for, ldx_error *error) {
  bson_t reply, lease;
  if (!session->token) return ldx_error_set(error, LDX_ERROR_LOCK_LOST, "the run lock is not held");
  bson_t *update = BCON_NEW("$set", "{", "expires", "{", "$add", "[", "$$NOW", BCON_INT32(LEASE_MS), "]", "}", "}");
  bool ok = change(session, own(session), update, false, &reply, error);
  bool gone = ok && !ldx_mongo_document_at(&reply, "value", &lease);
  bson_destroy(&reply);
  if (gone) return lost(session, error);
  /* From before the request: the server put the end off at that time or later. */
  *good_for = LEASE_MS / 1000.0 - margin;
  return ok;
}
