/* error.c: what libmongoc or the server says, as an ldx_error. The label of a COMMIT whose outcome nobody knows decides
 * first, for codes are of its last try alone; then the server's code, or where in libmongoc it failed; and where these
 * say nothing, the labels of what may be tried again. Texts are looked at only where there is nothing else: for hints
 * (connect.c), in lockInfo (locks.c), and whether all violations are told (duplicates.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codes.h"
#include "session.h"

static const struct {
  int native;
  ldx_error_code code;
} codes[] = {
#define X(name, number, code) {number, LDX_ERROR_##code},
    LDX_MONGO_CODES(X)
#undef X
};

static ldx_error_code of_server(int native) {
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (codes[i].native == native) return codes[i].code;
  return LDX_ERROR_SERVER;
}

/* Of libmongoc itself: whether something was sent decides what may be done about it. */
static ldx_error_code of_client(const bson_error_t *from) {
  switch (from->domain) {
  case MONGOC_ERROR_SERVER_SELECTION:
    return from->code == MONGOC_ERROR_SERVER_SELECTION_BAD_WIRE_VERSION ? LDX_ERROR_UNSUPPORTED : LDX_ERROR_CONNECT;
  case MONGOC_ERROR_STREAM:
    return from->code == MONGOC_ERROR_STREAM_SOCKET ? LDX_ERROR_LINK_LOST : LDX_ERROR_CONNECT;
  case MONGOC_ERROR_CLIENT:
    if (from->code == MONGOC_ERROR_CLIENT_AUTHENTICATE || from->code == MONGOC_ERROR_CLIENT_GETNONCE)
      return LDX_ERROR_AUTHENTICATION;
    if (from->code == MONGOC_ERROR_CLIENT_INVALID_LOAD_BALANCER) return LDX_ERROR_USAGE;
    return from->code == MONGOC_ERROR_CLIENT_NOT_READY ? LDX_ERROR_CONNECT : LDX_ERROR_SERVER;
  case MONGOC_ERROR_TRANSACTION: /* refused before anything was sent: what the target says does not go with one */
    return LDX_ERROR_USAGE;
  case MONGOC_ERROR_SASL:
  case MONGOC_ERROR_SCRAM:
    return LDX_ERROR_AUTHENTICATION;
  case MONGOC_ERROR_PROTOCOL:
    if (from->code == MONGOC_ERROR_PROTOCOL_BAD_WIRE_VERSION) return LDX_ERROR_UNSUPPORTED;
    return from->code == MONGOC_ERROR_PROTOCOL_INVALID_REPLY ? LDX_ERROR_LINK_LOST : LDX_ERROR_SERVER;
  default:
    return LDX_ERROR_SERVER;
  }
}

/* By somebody who may not want it to be begun again at once. */
static bool was_ended(int native) {
  return native == LDX_MONGO_CODE_INTERRUPTED || native == LDX_MONGO_CODE_CURSOR_KILLED ||
         native == LDX_MONGO_CODE_INDEX_BUILD_ABORTED;
}

bool ldx_mongo_was_ended(const ldx_error *error) {
  return was_ended(atoi(error->native));
}

bool ldx_mongo_is(const ldx_error *error, ldx_mongo_code code) {
  return atoi(error->native) == (int)code;
}

static const char before_command[] = " to execute command { ";

/* Which action the user lacks, as MongoDB's roles call it, and the least of them that has it. The server names the command
 * only. */
static void hint_for_right(ldx_error *error) {
  static const struct {
    const char *command, *right, *role;
  } rights[] = {
      {"createIndexes", "createIndex", "readWrite"},
      {"dropIndexes", "dropIndex", "readWrite"},
      {"collMod", "collMod", "dbAdmin"},
      {"create", "createCollection", "readWrite"},
      {"listCollections", "listCollections", "read"},
      {"listIndexes", "listIndexes", "read"},
      {"find", "find", "read"},
      {"aggregate: 1", "inprog", "clusterMonitor on admin"}, /* $currentOp */
      {"aggregate", "find", "read"},
      {"explain", "find", "read"},
      {"insert", "insert", "readWrite"},
      {"update", "update", "readWrite"},
      {"delete", "remove", "readWrite"},
      {"findAndModify", "find, insert and update", "readWrite"},
      {"dbStats", "dbStats", "read"},
  };
  const char *command = strstr(error->message, before_command);
  if (command) command += strlen(before_command);
  for (size_t i = 0; command && i < sizeof rights / sizeof *rights; i++) {
    size_t length = strlen(rights[i].command);
    if (strncmp(command, rights[i].command, length) != 0 || !strchr(":,", command[length])) continue;
    ldx_error_hint(error, "It takes the right to %s, which the role %s has. " LDX_MONGO_ROLES, rights[i].right,
                   rights[i].role);
    return;
  }
  ldx_error_hint(error, LDX_MONGO_ROLES);
}

static void hint_for(int native, ldx_error *error) {
  switch (error->code) {
  case LDX_ERROR_LINK_LOST:
    ldx_error_hint(error, "The server may still be at it; the next attempt looks at the catalog first.");
    break;
  case LDX_ERROR_PERMISSION:
    hint_for_right(error);
    break;
  case LDX_ERROR_AUTHENTICATION:
    ldx_error_hint(error, "Check user, password and authSource: users are often kept in \"admin\".");
    break;
  case LDX_ERROR_DISK_FULL:
    ldx_error_hint(error, "Free space where the server keeps its data, and run again.");
    break;
  case LDX_ERROR_SERVER:
    if (was_ended(native)) ldx_error_hint(error, "Somebody else ended it; run again when they agree.");
    break;
  default:
    break;
  }
}

/* "Index build failed: 7d…: Collection a.b ( 3f… ) :: caused by :: E11000 …": the last cause is what happened. */
static const char *last_cause(const char *message) {
  static const char arrow[] = ":: caused by :: ";
  const char *last = message;
  for (const char *p = message; (p = strstr(p, arrow));) last = p += strlen(arrow);
  return *last ? last : message;
}

/* "not authorized on shop to execute command { findAndModify: "t", query: { … }, lsid: … }": all but the first field goes. */
static void shorten(char *line, size_t size) {
  char *command = strstr(line, before_command);
  char *rest = command ? strchr(command + strlen(before_command), ',') : NULL;
  if (rest) snprintf(rest, size - (size_t)(rest - line), ", … }");
}

static void say(const ldx_session *session, const char *message, ldx_error *error) {
  char line[sizeof error->message];
  size_t n = 0;
  for (const char *p = message; *p && n + 1 < sizeof line; p++) line[n++] = (unsigned char)*p < ' ' ? ' ' : *p;
  line[n] = '\0';
  while (n && (line[n - 1] == ' ' || line[n - 1] == '.')) line[--n] = '\0';
  shorten(line, sizeof line);
  if (session) ldx_redact(&session->secrets, line, sizeof line);
  snprintf(error->message, sizeof error->message, "%s", *line ? line : "the server gave no reason");
}

static bool has_label(const bson_t *reply, const char *label) {
  return reply && ldx_mongoc.error_has_label(reply, label);
}

static ldx_error_code code_of(const bson_error_t *from, bool of_the_server, const bson_t *reply) {
  /* libmongoc sends a COMMIT twice: that no server was there, or had the time, is said of the second. */
  if (has_label(reply, "UnknownTransactionCommitResult")) return LDX_ERROR_LINK_LOST;
  ldx_error_code code = of_the_server ? of_server((int)from->code) : of_client(from);
  bool retryable = has_label(reply, "RetryableWriteError") || has_label(reply, "TransientTransactionError");
  return retryable && code == LDX_ERROR_SERVER ? LDX_ERROR_LINK_LOST : code;
}

void ldx_mongo_error(const ldx_session *session, const bson_error_t *from, const bson_t *reply, ldx_error *error) {
  if (!error) return;
  bool of_the_server = from->domain == MONGOC_ERROR_SERVER || from->domain == MONGOC_ERROR_WRITE_CONCERN;
  ldx_error_code code = code_of(from, of_the_server, reply);
  /* Without a user the server asks for one in the words of a missing right. */
  if (code == LDX_ERROR_PERMISSION && session && !session->info.user[0]) code = LDX_ERROR_AUTHENTICATION;
  ldx_error_set(error, code, "%s", "");
  say(session, of_the_server ? last_cause(from->message) : from->message, error);
  if (of_the_server && from->code > 0 && from->code < 10000000)
    snprintf(error->native, sizeof error->native, "%u", (unsigned)from->code);
  hint_for(of_the_server ? (int)from->code : 0, error);
  if (from->domain == MONGOC_ERROR_TRANSACTION)
    ldx_error_hint(error, "Transactions are of the primary, and acknowledged: take readPreference and w=0 out of the "
                          "target.");
  if (session && atomic_load(&session->cancelled) && of_the_server && was_ended((int)from->code)) {
    ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
    snprintf(error->native, sizeof error->native, "%u", (unsigned)from->code);
  }
}
