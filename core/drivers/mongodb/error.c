/* error.c: what libmongoc or the server says, as an ldx_error. Labels decide first, then the server's code, then where in
 * libmongoc it failed; texts never do.
 */
#include <stdio.h>
#include <string.h>

#include "session.h"

/* The server's codes, by name in its error_codes.yml. */
static const struct {
  int native;
  ldx_error_code code;
} codes[] = {
    {6, LDX_ERROR_LINK_LOST},              /* HostUnreachable: between members */
    {7, LDX_ERROR_LINK_LOST},              /* HostNotFound */
    {89, LDX_ERROR_LINK_LOST},             /* NetworkTimeout */
    {91, LDX_ERROR_LINK_LOST},             /* ShutdownInProgress */
    {189, LDX_ERROR_LINK_LOST},            /* PrimarySteppedDown */
    {9001, LDX_ERROR_LINK_LOST},           /* SocketException */
    {10058, LDX_ERROR_LINK_LOST},          /* LegacyNotPrimary */
    {10107, LDX_ERROR_LINK_LOST},          /* NotWritablePrimary */
    {11600, LDX_ERROR_LINK_LOST},          /* InterruptedAtShutdown */
    {11602, LDX_ERROR_LINK_LOST},          /* InterruptedDueToReplStateChange */
    {13435, LDX_ERROR_LINK_LOST},          /* NotPrimaryNoSecondaryOk */
    {13436, LDX_ERROR_LINK_LOST},          /* NotPrimaryOrSecondary */
    {11, LDX_ERROR_AUTHENTICATION},        /* UserNotFound */
    {18, LDX_ERROR_AUTHENTICATION},        /* AuthenticationFailed */
    {334, LDX_ERROR_AUTHENTICATION},       /* MechanismUnavailable */
    {13, LDX_ERROR_PERMISSION},            /* Unauthorized */
    {33, LDX_ERROR_AUTHENTICATION},        /* AuthSchemaIncompatible */
    {11000, LDX_ERROR_DUPLICATE_KEY},      /* DuplicateKey */
    {359, LDX_ERROR_DUPLICATE_KEY},        /* CannotConvertIndexToUnique */
    {85, LDX_ERROR_DUPLICATE_NAME},        /* IndexOptionsConflict */
    {86, LDX_ERROR_DUPLICATE_NAME},        /* IndexKeySpecsConflict */
    {48, LDX_ERROR_DUPLICATE_NAME},        /* NamespaceExists */
    {68, LDX_ERROR_DUPLICATE_NAME},        /* IndexAlreadyExists */
    {26, LDX_ERROR_UNDEFINED},             /* NamespaceNotFound */
    {27, LDX_ERROR_UNDEFINED},             /* IndexNotFound */
    {2, LDX_ERROR_INVALID_DEFINITION},     /* BadValue */
    {9, LDX_ERROR_INVALID_DEFINITION},     /* FailedToParse */
    {14, LDX_ERROR_INVALID_DEFINITION},    /* TypeMismatch */
    {67, LDX_ERROR_INVALID_DEFINITION},    /* CannotCreateIndex */
    {72, LDX_ERROR_INVALID_DEFINITION},    /* InvalidOptions */
    {73, LDX_ERROR_INVALID_DEFINITION},    /* InvalidNamespace */
    {166, LDX_ERROR_INVALID_DEFINITION},   /* CommandNotSupportedOnView */
    {171, LDX_ERROR_INVALID_DEFINITION},   /* CannotIndexParallelArrays */
    {197, LDX_ERROR_INVALID_DEFINITION},   /* InvalidIndexSpecificationOption */
    {201, LDX_ERROR_INVALID_DEFINITION},   /* IncompatibleCollationVersion */
    {13103, LDX_ERROR_INVALID_DEFINITION}, /* too many fields in a key */
    {16764, LDX_ERROR_INVALID_DEFINITION}, /* unique and hashed */
    {40415, LDX_ERROR_INVALID_DEFINITION}, /* unknown field */
    {59, LDX_ERROR_UNSUPPORTED},           /* CommandNotFound */
    {115, LDX_ERROR_UNSUPPORTED},          /* CommandNotSupported */
    {303, LDX_ERROR_UNSUPPORTED},          /* QueryFeatureNotAllowed */
    {323, LDX_ERROR_UNSUPPORTED},          /* APIStrictError */
    {24, LDX_ERROR_LOCK_TIMEOUT},          /* LockTimeout */
    {46, LDX_ERROR_LOCK_TIMEOUT},          /* LockBusy */
    {117, LDX_ERROR_SERIALIZATION},        /* ConflictingOperationInProgress */
    {112, LDX_ERROR_SERIALIZATION},        /* WriteConflict */
    {251, LDX_ERROR_SERIALIZATION},        /* NoSuchTransaction */
    {12587, LDX_ERROR_SERIALIZATION},      /* BackgroundOperationInProgressForNamespace */
    {12586, LDX_ERROR_SERIALIZATION},      /* BackgroundOperationInProgressForDatabase */
    {63, LDX_ERROR_SERIALIZATION},         /* StaleShardVersion */
    {13388, LDX_ERROR_SERIALIZATION},      /* StaleConfig */
    {50, LDX_ERROR_LOCK_TIMEOUT},          /* MaxTimeMSExpired */
    {262, LDX_ERROR_LOCK_TIMEOUT},         /* ExceededTimeLimit */
    {279, LDX_ERROR_LINK_LOST},            /* ClientDisconnect */
    {133, LDX_ERROR_LINK_LOST},            /* FailedToSatisfyReadPreference: a router finds no primary of a shard */
    {43, LDX_ERROR_SERIALIZATION},         /* CursorNotFound: while an index was walked */
    {175, LDX_ERROR_SERIALIZATION},        /* QueryPlanKilled: its index or collection went */
    {14031, LDX_ERROR_DISK_FULL},          /* OutOfDiskSpace */
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

/* Interrupted (killOp), CursorKilled and IndexBuildAborted: by somebody who may not want it to be begun again at once. */
static bool was_ended(int native) {
  return native == 11601 || native == 237 || native == 276;
}

bool ldx_mongo_was_ended(const ldx_error *error) {
  return was_ended(atoi(error->native));
}

static void hint_for(int native, ldx_error *error) {
  switch (error->code) {
  case LDX_ERROR_LINK_LOST:
    ldx_error_hint(error, "The server may still be at it; the next attempt looks at the catalog first.");
    break;
  case LDX_ERROR_PERMISSION:
    ldx_error_hint(error, LDX_MONGO_ROLES);
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
  static const char before[] = " to execute command { ";
  char *command = strstr(line, before);
  char *rest = command ? strchr(command + strlen(before), ',') : NULL;
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

void ldx_mongo_error(const ldx_session *session, const bson_error_t *from, const bson_t *reply, ldx_error *error) {
  if (!error) return;
  bool of_the_server = from->domain == MONGOC_ERROR_SERVER || from->domain == MONGOC_ERROR_WRITE_CONCERN;
  ldx_error_code code = of_the_server ? of_server((int)from->code) : of_client(from);
  bool retryable = reply && (ldx_mongoc.error_has_label(reply, "RetryableWriteError") ||
                             ldx_mongoc.error_has_label(reply, "TransientTransactionError"));
  if (retryable && code == LDX_ERROR_SERVER) code = LDX_ERROR_LINK_LOST;
  /* Without a user the server asks for one in the words of a missing right. */
  if (code == LDX_ERROR_PERMISSION && session && !session->info.user[0]) code = LDX_ERROR_AUTHENTICATION;
  ldx_error_set(error, code, "%s", "");
  say(session, of_the_server ? last_cause(from->message) : from->message, error);
  if (of_the_server && from->code > 0 && from->code < 10000000)
    snprintf(error->native, sizeof error->native, "%u", (unsigned)from->code);
  hint_for(of_the_server ? (int)from->code : 0, error);
  if (session && atomic_load(&session->cancelled) && of_the_server && was_ended((int)from->code)) {
    ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled");
    snprintf(error->native, sizeof error->native, "%u", (unsigned)from->code);
  }
}
