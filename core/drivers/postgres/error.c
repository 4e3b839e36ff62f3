/* error.c: what PostgreSQL says, as an ldx_error. The SQLSTATE decides; texts are the server's and may be translated. */
#include <stdio.h>
#include <string.h>

#include "session.h"

static const struct {
  const char *prefix; /* a whole SQLSTATE or its class */
  ldx_error_code code;
} codes[] = {
    /* Whole codes come before their class: the first match counts. */
    {"08P01", LDX_ERROR_SERVER},
    {"08", LDX_ERROR_LINK_LOST},
    {"0A000", LDX_ERROR_UNSUPPORTED},
    {"0LP01", LDX_ERROR_PERMISSION},
    {"22", LDX_ERROR_INVALID_DEFINITION},
    {"23505", LDX_ERROR_DUPLICATE_KEY},
    {"23P01", LDX_ERROR_DUPLICATE_KEY},
    {"25006", LDX_ERROR_READ_ONLY},
    {"28", LDX_ERROR_AUTHENTICATION},
    {"2BP01", LDX_ERROR_DEPENDENT},
    {"3D000", LDX_ERROR_NO_DATABASE},
    {"3F000", LDX_ERROR_UNDEFINED},
    {"40P01", LDX_ERROR_DEADLOCK},
    {"40", LDX_ERROR_SERIALIZATION},
    {"42501", LDX_ERROR_PERMISSION},
    {"42602", LDX_ERROR_INVALID_DEFINITION},
    {"42622", LDX_ERROR_INVALID_DEFINITION},
    {"42703", LDX_ERROR_UNDEFINED},
    {"42704", LDX_ERROR_UNDEFINED},
    {"42883", LDX_ERROR_UNDEFINED},
    {"42P01", LDX_ERROR_UNDEFINED},
    {"42P06", LDX_ERROR_DUPLICATE_NAME},
    {"42P07", LDX_ERROR_DUPLICATE_NAME},
    {"42710", LDX_ERROR_DUPLICATE_NAME},
    {"42", LDX_ERROR_INVALID_DEFINITION},
    {"53100", LDX_ERROR_DISK_FULL},
    {"53300", LDX_ERROR_CONNECT},
    {"54", LDX_ERROR_INVALID_DEFINITION},
    {"55P03", LDX_ERROR_LOCK_TIMEOUT},
    {"57P03", LDX_ERROR_CONNECT},
    {"57P04", LDX_ERROR_NO_DATABASE},
    {"57P01", LDX_ERROR_TERMINATED},
    {"57P02", LDX_ERROR_TERMINATED},
    {"57P05", LDX_ERROR_TERMINATED},
};

ldx_error_code ldx_pg_error_code(const char *sqlstate) {
  if (!sqlstate || !*sqlstate) return LDX_ERROR_LINK_LOST;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    if (!strncmp(sqlstate, codes[i].prefix, strlen(codes[i].prefix))) return codes[i].code;
  return LDX_ERROR_SERVER;
}

void ldx_pg_one_line(char *to, size_t size, const char *text) {
  size_t n = 0;
  const char *gap = "";
  if (!size) return;
  for (; *text; text++) {
    if (*text == '\n' || *text == '\r' || *text == '\t') {
      if (*text == '\t' && !*gap)
        gap = " ";
      else if (*text != '\t')
        gap = "; ";
      continue;
    }
    if (*gap) {
      for (const char *g = n ? gap : ""; *g && n + 1 < size; g++) to[n++] = *g;
      gap = "";
    }
    if (n + 1 >= size) break;
    to[n++] = *text;
  }
  /* A cut must not leave half a character behind. */
  if (*text)
    while (n && ((unsigned char)to[n - 1] & 0xC0) == 0x80) n--;
  if (*text && n && ((unsigned char)to[n - 1] & 0x80)) n--;
  to[n] = '\0';
}

static void hint_for(const ldx_session *session, const char *sqlstate, ldx_error *error) {
  switch (error->code) {
  case LDX_ERROR_LINK_LOST:
    ldx_error_hint(error, "The server may still be at it; the next attempt looks at the catalog first.");
    break;
  case LDX_ERROR_LOCK_TIMEOUT:
    ldx_error_hint(error, "Another session holds the table; `lunadex status` and pg_locks say which.");
    break;
  case LDX_ERROR_DISK_FULL:
    ldx_error_hint(error, "Free space in the tablespace, or in temp_tablespaces, and run again.");
    break;
  case LDX_ERROR_PERMISSION:
    ldx_error_hint(error, "It takes the rights of the relation's owner, and CREATE on its schema.");
    break;
  case LDX_ERROR_READ_ONLY:
    ldx_error_hint(error, session->info.standby ? "Connect to the primary."
                          : session->read_only  ? "Open the connection without read_only."
                                                : "Connect with default_transaction_read_only off.");
    break;
  case LDX_ERROR_TERMINATED:
    ldx_error_hint(error, "An administrator or a shutdown of the server ended the session.");
    break;
  case LDX_ERROR_SERVER:
    if (sqlstate && !strcmp(sqlstate, "23503"))
      ldx_error_hint(error, "Rows contradict the foreign key; repair them, then run again.");
    if (sqlstate && !strcmp(sqlstate, "57014"))
      ldx_error_hint(error, "Somebody else cancelled the statement; run again when they agree.");
    break;
  default:
    break;
  }
}

void ldx_pg_error_from_result(ldx_session *session, const PGresult *result, ldx_error *error) {
  if (!error) return;
  const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
  const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
  bool lost = PQstatus(session->connection) != CONNECTION_OK;
  ldx_error_code code = ldx_pg_error_code(state);

  if (!message) message = result ? PQresultErrorMessage(result) : PQerrorMessage(session->connection);
  if (!*message) message = PQerrorMessage(session->connection);
  /* libpq reports a few mistakes of its own without a SQLSTATE on a connection that is fine. */
  if (code == LDX_ERROR_LINK_LOST && !lost) code = LDX_ERROR_SERVER;

  char line[sizeof error->message];
  ldx_pg_one_line(line, sizeof line, message);
  ldx_error_set(error, code, "%s", *line ? line : "the connection to the server was lost");
  if (state) snprintf(error->native, sizeof error->native, "%s", state);
  const char *detail = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL) : NULL;
  if (detail) ldx_pg_one_line(error->detail, sizeof error->detail, detail);
  const char *context = result ? PQresultErrorField(result, PG_DIAG_CONTEXT) : NULL;
  if (context) ldx_pg_one_line(error->context, sizeof error->context, context);
  const char *hint = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_HINT) : NULL;
  /* Of a full disk it says no more than the error; and CASCADE would take along what nobody has looked at. */
  bool helps = hint && code != LDX_ERROR_DISK_FULL && code != LDX_ERROR_DEPENDENT;
  if (helps) {
    char text[sizeof error->hint];
    ldx_pg_one_line(text, sizeof text, hint);
    ldx_error_hint(error, "%s", text);
  } else {
    hint_for(session, state, error);
  }
}
