/* connect.c: how a session comes to be.
 *
 * libmongoc finds the servers; this file adds a time limit that a stopping run can cut short, errors with a code and
 * without a secret, and the questions that tell what deployment this is. Each attempt has a client and a short time of
 * its own, because nobody can interrupt libmongoc while it looks for servers. Whoever refuses at once is believed at
 * once; whoever does not answer, and a replica set that has no primary, get the whole time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "aside.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "path.h"
#include "session.h"
#include "target.h"

static const double default_timeout = 10;
/* An attempt that hears nothing is given up after so long, to see whether the run is to stop; the next one is given twice
 * as long, for servers that are far away. */
static const double first_attempt = 2, longest_attempt = 5;
static const double between_attempts = 0.2;

static double timeout_of(const ldx_target *target, const mongoc_uri_t *uri) {
  if (target->connect_timeout > 0) return target->connect_timeout;
  int32_t asked = ldx_mongoc.uri_get_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, 0);
  return asked > 0 ? asked / 1000.0 : default_timeout;
}

static bool pause_unless(const atomic_bool *stop, double seconds) {
  double until = ldx_clock_now() + seconds;
  while (!(stop && atomic_load(stop)) && ldx_clock_now() < until) ldx_clock_sleep(0.02);
  return !(stop && atomic_load(stop));
}

/* --- looking for servers --------------------------------------------------------------------------------------------- */

/* Whether some member of a replica set answered, though none that takes writes. */
static bool has_members(const mongoc_client_t *client) {
  size_t count = 0;
  bool found = false;
  mongoc_server_description_t **servers = ldx_mongoc.client_get_server_descriptions(client, &count);
  for (size_t i = 0; i < count; i++)
    if (!strncmp(ldx_mongoc.server_description_type(servers[i]), "RS", 2)) found = true;
  ldx_mongoc.server_descriptions_destroy_all(servers, count);
  return found;
}

typedef enum outcome { FOUND, NO_PRIMARY, NO_ANSWER, REFUSED } outcome;

static outcome look(ldx_session *session, double seconds, bson_error_t *reason) {
  double begun = ldx_clock_now();
  ldx_mongoc.uri_set_option_as_int32(session->uri, MONGOC_URI_CONNECTTIMEOUTMS, (int32_t)(seconds * 1000));
  session->client = ldx_mongoc.client_new_from_uri_with_error(session->uri, reason);
  if (!session->client) return REFUSED;
  ldx_mongoc.client_set_error_api(session->client, MONGOC_ERROR_API_VERSION_2);
  mongoc_server_description_t *server = ldx_mongoc.client_select_server(session->client, true, NULL, reason);
  if (server) {
    ldx_mongoc.server_description_destroy(server);
    return FOUND;
  }
  if (has_members(session->client)) return NO_PRIMARY;
  return ldx_clock_now() - begun >= seconds * 0.9 ? NO_ANSWER : REFUSED;
}

/* Whoever wants TLS takes the connection and hangs up at the first word. */
static bool is_cut_off(const char *message) {
  return strcasestr(message, "connection closed") || strcasestr(message, "closed connection") ||
         strstr(message, "connection error") || strstr(message, "Invalid reply");
}

static bool connection_error(const ldx_session *session, outcome how, const bson_error_t *reason, double timeout,
                             ldx_error *error) {
  ldx_mongo_error(session, reason, NULL, error);
  /* "No suitable servers found (`serverSelectionTryOnce` set): [connection refused calling hello on 'a:1']" */
  char *list = error ? strchr(error->message, '[') : NULL;
  if (how == NO_PRIMARY) {
    ldx_error_set(error, LDX_ERROR_CONNECT, "the replica set has no primary that could be reached in %.3g s", timeout);
    ldx_error_hint(error, "rs.status() says why. Where only one member can be reached from here, add "
                          "?directConnection=true.");
  } else if (error && error->code == LDX_ERROR_CONNECT) {
    if (list) {
      char text[900];
      snprintf(text, sizeof text, "%s", list);
      snprintf(error->message, sizeof error->message, "no server could be reached: %s", text);
    }
    const char *set = ldx_mongoc.uri_get_replica_set(session->uri);
    if (!list && set && reason->domain == MONGOC_ERROR_SERVER_SELECTION)
      snprintf(error->message, sizeof error->message, "no member of a replica set \"%.200s\" was found", set);
    if (strstr(error->message, "TLS"))
      ldx_error_hint(error,
                     "Check tlsCAFile, the name in the server's certificate, and its dates; or does the server speak "
                     "no TLS?");
    else if (is_cut_off(error->message))
      ldx_error_hint(error, ldx_mongoc.uri_get_tls(session->uri) ? "Does the server speak TLS?"
                                                                 : "Does the server want TLS? Then add ?tls=true.");
    else
      ldx_error_hint(error,
                     "Check host, port and replicaSet. Where a replica set is known under names that do not lead "
                     "to it from here, add ?directConnection=true.");
  }
  return false;
}

/* Has a client, with a server that takes writes; or else, where that will do, with one that can be read: then there are
 * `preferences`. */
static bool find_server(ldx_session *session, const ldx_target *target, ldx_error *error) {
  double timeout = timeout_of(target, session->uri), deadline = ldx_clock_now() + timeout;
  double attempt = first_attempt;
  for (;;) {
    bson_error_t reason = {0};
    double left = deadline - ldx_clock_now();
    outcome how = look(session, left < attempt ? (left > 0.1 ? left : 0.1) : attempt, &reason);
    if (how == FOUND) return true;
    attempt = attempt * 2 < longest_attempt ? attempt * 2 : longest_attempt;
    bool stopped = target->stop && atomic_load(target->stop);
    bool last = ldx_clock_now() + between_attempts >= deadline;
    if (how == NO_PRIMARY && last && !target->to_write) {
      session->preferences = ldx_mongoc.read_prefs_new(MONGOC_READ_PRIMARY_PREFERRED);
      mongoc_server_description_t *server =
          ldx_mongoc.client_select_server(session->client, false, session->preferences, NULL);
      if (server) {
        ldx_mongoc.server_description_destroy(server);
        return true;
      }
    }
    if (how == REFUSED || last) return connection_error(session, how, &reason, timeout, error);
    ldx_mongoc.client_destroy(session->client);
    session->client = NULL;
    if (stopped || !pause_unless(target->stop, between_attempts))
      return ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled while connecting");
  }
}

/* --- what deployment this is ------------------------------------------------------------------------------------------ */

static int compare_texts(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The members' names, in an order of their own: whichever of them answers, it is the same set. */
static void append_members(ldx_buffer *text, const bson_t *hello) {
  enum { MOST = 64 }; /* a set has 50 at most */
  const char *names[MOST];
  size_t count = 0;
  static const char *const lists[] = {"hosts", "passives", "arbiters"};
  for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
    bson_iter_t element;
    if (!ldx_mongo_members_at(hello, lists[l], &element)) continue;
    while (count < MOST && bson_iter_next(&element))
      if (BSON_ITER_HOLDS_UTF8(&element)) names[count++] = bson_iter_utf8(&element, NULL);
  }
  qsort(names, count, sizeof *names, compare_texts);
  for (size_t i = 0; i < count; i++) ldx_buffer_appendf(text, "%s ", names[i]);
}

static void append_id(ldx_buffer *text, const bson_t *document, const char *path) {
  bson_iter_t found;
  char id[25];
  if (!ldx_mongo_find(document, path, &found) || !BSON_ITER_HOLDS_OID(&found)) return;
  bson_oid_to_string(bson_iter_oid(&found), id);
  ldx_buffer_append(text, id);
}

/* One cluster has many routers; only its own id says that two of them lead to the same. Who may not read it is told the
 * router's. */
static void append_cluster(ldx_buffer *text, ldx_session *session, const bson_t *hello) {
  bson_t *command = BCON_NEW("find", BCON_UTF8("version"), "limit", BCON_INT32(1)), reply;
  ldx_error ignored;
  size_t before = text->length;
  if (ldx_mongo_command(session, "config", command, &reply, &ignored))
    append_id(text, &reply, "cursor.firstBatch.0.clusterId");
  if (text->length == before) append_id(text, hello, "topologyVersion.processId");
  bson_destroy(&reply);
  bson_destroy(command);
}

static void write_identity(ldx_session *session, const bson_t *hello) {
  ldx_buffer text;
  ldx_buffer_init(&text, NULL);
  const char *set = ldx_mongo_text_at(hello, "setName");
  ldx_buffer_appendf(&text, "%s %s ", session->database, set);
  if (session->sharded)
    append_cluster(&text, session, hello);
  else if (*set)
    append_members(&text, hello);
  else
    append_id(&text, hello, "topologyVersion.processId");
  XXH128_hash_t hash = XXH3_128bits(ldx_buffer_string(&text), text.length);
  snprintf(session->info.identity, sizeof session->info.identity, "%016llx%016llx", (unsigned long long)hash.high64,
           (unsigned long long)hash.low64);
  ldx_buffer_free(&text);
}

/* The texts of a list, a space before and after each. */
static void read_list(char *to, size_t size, const bson_t *document, const char *name) {
  bson_iter_t element;
  size_t length = 0;
  if (!ldx_mongo_members_at(document, name, &element)) return;
  while (bson_iter_next(&element) && BSON_ITER_HOLDS_UTF8(&element) && length < size)
    length += (size_t)snprintf(to + length, size - length, length ? "%s " : " %s ", bson_iter_utf8(&element, NULL));
}

static bool read_version(ldx_session *session, ldx_error *error) {
  ldx_server_info *info = &session->info;
  bson_t *command = BCON_NEW("buildInfo", BCON_INT32(1)), reply;
  bool ok = ldx_mongo_command(session, "admin", command, &reply, error);
  int major = 0, minor = 0, patch = 0;
  snprintf(info->product, sizeof info->product, "MongoDB");
  snprintf(info->version, sizeof info->version, "%s", ldx_mongo_text_at(&reply, "version"));
  char modules[128] = "";
  read_list(modules, sizeof modules, &reply, "modules");
  session->enterprise = strstr(modules, " enterprise ") != NULL;
  read_list(session->engines, sizeof session->engines, &reply, "storageEngines");
  sscanf(info->version, "%d.%d.%d", &major, &minor, &patch);
  info->version_number = major * 10000 + minor * 100 + patch;
  bson_destroy(&reply);
  bson_destroy(command);
  if (ok && info->version_number < 60000)
    ok = ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "MongoDB %s is too old: 6.0 is the oldest supported version",
                       info->version);
  return ok;
}

/* Whoever is asked directly may be a member of a replica set that has nothing to say: a client takes what it is given. */
static bool check_member(const bson_t *hello, ldx_error *error) {
  bool member = *ldx_mongo_text_at(hello, "setName") != '\0';
  if (ldx_mongo_flag_at(hello, "arbiterOnly")) {
    ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "the server is an arbiter of its replica set, and has no data");
    ldx_error_hint(error, "Give the address of the set, or of another member.");
    return false;
  }
  if (!member && ldx_mongo_flag_at(hello, "isreplicaset")) {
    ldx_error_set(error, LDX_ERROR_CONNECT, "the server belongs to no replica set yet, and waits for one");
    ldx_error_hint(error, "rs.initiate() makes one; rs.add() takes the server into one.");
    return false;
  }
  if (!member || ldx_mongo_flag_at(hello, "isWritablePrimary") || ldx_mongo_flag_at(hello, "secondary")) return true;
  ldx_error_set(error, LDX_ERROR_CONNECT, "the server is neither primary nor secondary of its replica set now");
  ldx_error_hint(error, "It may be starting, or recovering: rs.status() says why.");
  return false;
}

static bool introduce(ldx_session *session, ldx_error *error) {
  bson_t *command = BCON_NEW("hello", BCON_INT32(1)), hello;
  /* The first command that needs the connection's user: here a wrong password comes out. */
  bool ok = ldx_mongo_command(session, "admin", command, &hello, error) && check_member(&hello, error);
  if (ok) {
    session->sharded = !strcmp(ldx_mongo_text_at(&hello, "msg"), "isdbgrid");
    session->stand_alone = !session->sharded && !*ldx_mongo_text_at(&hello, "setName");
    session->info.standby = !ldx_mongo_flag_at(&hello, "isWritablePrimary");
    session->info.read_only = session->info.standby || ldx_mongo_flag_at(&hello, "readOnly");
    write_identity(session, &hello);
  }
  bson_destroy(&hello);
  bson_destroy(command);
  return ok && read_version(session, error);
}

/* Positive, and not the same in two processes that began together. */
static int64_t random_number(void) {
  uint64_t number = 0;
  while (!(number >> 1)) {
    if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
      number = (uint64_t)(ldx_clock_now() * 1e9) ^ (uint64_t)(uintptr_t)&number;
  }
  return (int64_t)(number >> 1);
}

static pthread_once_t process_once = PTHREAD_ONCE_INIT;
static int64_t process_number;

static void choose_process(void) {
  process_number = random_number();
}

int64_t ldx_mongo_process(void) {
  pthread_once(&process_once, choose_process);
  return process_number;
}

ldx_session *ldx_mongo_open(const ldx_target *target, ldx_server_info *info, ldx_error *error) {
  if (!ldx_mongoc_load(error)) return NULL;
  ldx_session *session = calloc(1, sizeof *session);
  if (!session) {
    ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
    return NULL;
  }
  pthread_mutex_init(&session->aside_mutex, NULL);
  atomic_init(&session->cancelled, false);
  session->number = random_number();
  session->read_only = target->read_only;
  double patience;
  session->uri = ldx_mongo_target_parse(target, &session->secrets, &patience, error);
  bool ok = session->uri != NULL;
  if (ok) {
    session->database = strdup(ldx_mongoc.uri_get_database(session->uri));
    /* The limit of connecting is that of each of its parts. */
    session->patience = timeout_of(target, session->uri);
    session->stop = target->stop;
    ldx_mongo_target_describe(session->uri, &session->info);
    ok = session->database ? find_server(session, target, error) && introduce(session, error)
                           : ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
  }
  if (!ok) {
    ldx_mongo_close(session);
    return NULL;
  }
  session->patience = patience;
  ldx_mongo_aside_close(session); /* it had the limit of connecting, which may be a short one */
  session->stop = NULL;
  if (info) *info = session->info;
  return session;
}
