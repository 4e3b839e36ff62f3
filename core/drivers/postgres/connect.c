/* connect.c: how a session comes to be.
 *
 * libpq reads the target (URL or key=value, service and password files, PG* variables, TLS); this file adds a time limit
 * per address, errors with a code and without a secret, and one round trip that says what server this is and sets what
 * every session of ours needs. The connection is made step by step (PQconnectPoll) because only then the verbosity can
 * be raised early enough for the server's refusal to carry its SQLSTATE: texts may be translated, codes are not.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/redact.h"
#include "session.h"

static const double default_timeout = 10;

/* --- errors of connecting ------------------------------------------------------------------------------------------ */

/* The verbose form of a server's message is "FATAL:  28P01: text\nLOCATION:  file": finds the SQLSTATE and takes it and
 * the location out, in place. */
static void take_sqlstate(char *message, char state[6]) {
  state[0] = '\0';
  for (char *p = message; (p = strstr(p, ":  "));) {
    char *code = p + 3;
    bool is_code = strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':' && code[6] == ' ';
    if (is_code) {
      /* Of several hosts the last one's counts, as in libpq's own order of attempts. */
      memcpy(state, code, 5);
      state[5] = '\0';
      memmove(code, code + 7, strlen(code + 7) + 1);
    }
    p = code;
  }
  /* LOCATION: is translated, its shape is not: "NAME:  function, file.c:123". */
  for (char *line = message; line && *line;) {
    char *end = strchr(line, '\n');
    size_t length = end ? (size_t)(end - line) : strlen(line);
    char *dot = memmem(line, length, ".c:", 3);
    if (dot && memmem(line, length, ":  ", 3) && memmem(line, length, ", ", 2) &&
        strspn(dot + 3, "0123456789") == length - (size_t)(dot + 3 - line)) {
      size_t cut = end ? length + 1 : length;
      memmove(line, line + cut, strlen(line + cut) + 1);
      continue;
    }
    line = end ? end + 1 : NULL;
  }
}

/* Takes out the questions that libpq asks, each on a line that begins with a tab: a hint of ours asks them once. */
static void drop_questions(char *message) {
  for (char *line; (line = strstr(message, "\n\t"));) {
    size_t length = 1 + strcspn(line + 1, "\n");
    memmove(line, line + length, strlen(line + length) + 1);
  }
}

static void connection_error(PGconn *connection, const ldx_secrets *secrets, const char *before, ldx_error *error) {
  char text[4096], line[sizeof error->message], state[6];
  snprintf(text, sizeof text, "%s%s", before, PQerrorMessage(connection));
  take_sqlstate(text, state);
  drop_questions(text);
  ldx_redact(secrets, text, sizeof text);
  ldx_pg_one_line(line, sizeof line, text);

  ldx_error_code code = *state ? ldx_pg_error_code(state) : LDX_ERROR_CONNECT;
  /* Without a code of the server, one of libpq's own: the only ones that are not about reaching the server are those
   * that say that a password was asked for, or that libpq would not go on with this kind of authentication. */
  if (!*state && PQconnectionNeedsPassword(connection)) code = LDX_ERROR_AUTHENTICATION;
  if (code == LDX_ERROR_LINK_LOST || code == LDX_ERROR_TERMINATED || code == LDX_ERROR_SERVER) code = LDX_ERROR_CONNECT;
  ldx_error_set(error, code, "%s", *line ? line : "no connection to the server");
  if (error) memcpy(error->native, state, sizeof state);

  const char *host = PQhost(connection);
  switch (code) {
  case LDX_ERROR_AUTHENTICATION:
    if (PQconnectionNeedsPassword(connection))
      ldx_error_hint(error, "Give a password in the password file (~/.pgpass), PGPASSWORD or the URL.");
    else
      ldx_error_hint(error, "Check user and password, and the server's pg_hba.conf.");
    break;
  case LDX_ERROR_NO_DATABASE:
    ldx_error_hint(error, "Check the database's name; `psql -l` lists those of the server.");
    break;
  case LDX_ERROR_PERMISSION:
    /* Whoever may not connect has not been let in, whatever the server calls it. */
    if (error) error->code = LDX_ERROR_AUTHENTICATION;
    ldx_error_hint(error, "The role needs the CONNECT privilege on this database.");
    break;
  case LDX_ERROR_CONNECT:
    if (!strcmp(state, "57P03"))
      ldx_error_hint(error, "The server is starting up or shutting down; try again soon.");
    else if (!strcmp(state, "53300"))
      ldx_error_hint(error, "The server has no free connection; fewer --jobs need fewer.");
    else if (host && *host == '/')
      ldx_error_hint(error, "Is the server running, and is its socket in this directory?");
    else
      ldx_error_hint(error, "Is the server running there, and does it accept TCP connections from here?");
    break;
  default:
    break;
  }
}

/* --- reaching a server ---------------------------------------------------------------------------------------------- */

typedef enum reached { REACHED, REFUSED, TIMED_OUT, STOPPED } reached;

/* Milliseconds between looks at whether the connection is still wanted. */
enum { LOOK_MS = 100 };

static reached poll_connection(PGconn *connection, double timeout, const atomic_bool *stop) {
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  char at[320] = "";
  double deadline = ldx_clock_now() + timeout;
  for (;;) {
    if (status == PGRES_POLLING_OK) return REACHED;
    if (status == PGRES_POLLING_FAILED || PQstatus(connection) == CONNECTION_BAD) return REFUSED;
    /* Like libpq's own limit, ours is per address: it starts anew with the next one. */
    char now_at[sizeof at];
    const char *host = PQhost(connection), *address = PQhostaddr(connection), *port = PQport(connection);
    snprintf(now_at, sizeof now_at, "%s|%s|%s", host ? host : "", address ? address : "", port ? port : "");
    if (strcmp(at, now_at)) {
      memcpy(at, now_at, sizeof at);
      deadline = ldx_clock_now() + timeout;
    }
    double left = deadline - ldx_clock_now();
    if (left <= 0) return TIMED_OUT;
    if (stop && atomic_load(stop)) return STOPPED;
    struct pollfd fd = {.fd = PQsocket(connection), .events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT};
    if (fd.fd < 0) return REFUSED;
    int ready = poll(&fd, 1, left * 1000 > LOOK_MS ? LOOK_MS : (int)(left * 1000) + 1);
    if (ready < 0 && errno != EINTR) return REFUSED;
    if (ready > 0) status = PQconnectPoll(connection);
  }
}

static const char *option_of(const PQconninfoOption *options, const char *keyword) {
  for (const PQconninfoOption *o = options; o && o->keyword; o++)
    if (!strcmp(o->keyword, keyword)) return o->val && *o->val ? o->val : NULL;
  return NULL;
}

/* The text after the n-th comma of a list: the rest of several hosts. NULL: there is none. */
static const char *after_comma(const char *list, int n) {
  while (list && n--) {
    list = strchr(list, ',');
    if (list) list++;
  }
  return list;
}

/* Which of the target's hosts libpq was at. */
static int host_at(PGconn *connection, const char *hosts, const char *ports) {
  const char *host = PQhost(connection), *port = PQport(connection);
  for (int i = 0; after_comma(hosts, i); i++) {
    const char *h = after_comma(hosts, i), *p = ports && strchr(ports, ',') ? after_comma(ports, i) : ports;
    size_t h_length = strcspn(h, ","), p_length = p ? strcspn(p, ",") : 0;
    bool same_host = host && strlen(host) == h_length && !memcmp(host, h, h_length);
    bool same_port = !p_length || (port && strlen(port) == p_length && !memcmp(port, p, p_length));
    if (same_host && same_port) return i;
  }
  return 0;
}

/* Parameters before the target are defaults of ours that it may override; those after it are not for it to say. */
static PGconn *start(const ldx_target *target, const char *host, const char *hostaddr, const char *port) {
  const char *keys[16], *values[16];
  size_t n = 0;
#define ADD(key, value) (keys[n] = (key), values[n++] = (value))
  /* A link that died without a word is noticed within two minutes, not two hours. */
  ADD("keepalives_idle", "30");
  ADD("keepalives_interval", "15");
  ADD("keepalives_count", "4");
  ADD("tcp_user_timeout", "90000");
  if (target->application_name && !getenv("PGAPPNAME")) ADD("application_name", target->application_name);
  ADD("dbname", target->url ? target->url : "");
  ADD("client_encoding", "UTF8");
  /* Only what libpq did not get to: see `connect_to`. */
  if (host) ADD("host", host);
  if (hostaddr) ADD("hostaddr", hostaddr);
  if (port) ADD("port", port);
#undef ADD
  keys[n] = values[n] = NULL;
  return PQconnectStartParams(keys, values, 1);
}

/* The time limit of one address: the caller's, the target's own or PGCONNECT_TIMEOUT, ours. */
static double timeout_of(const ldx_target *target, const PQconninfoOption *options) {
  if (target->connect_timeout > 0) return target->connect_timeout;
  const char *own = option_of(options, "connect_timeout");
  int seconds = own ? atoi(own) : 0;
  return seconds > 0 ? (seconds < 2 ? 2 : seconds) : default_timeout;
}

/* Tries every host of the target. PQconnectPoll goes from one to the next when one refuses, but a limit of ours cannot
 * tell it to: after a time-out the hosts behind that one get a connection of their own. */
static PGconn *connect_to(const ldx_target *target, const ldx_secrets *secrets, ldx_session *session,
                          ldx_error *error) {
  char host[2048], hostaddr[2048], port[512], before[1024] = "";
  const char *next_host = NULL, *next_hostaddr = NULL, *next_port = NULL;
  for (;;) {
    PGconn *connection = start(target, next_host, next_hostaddr, next_port);
    if (!connection) {
      ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
      return NULL;
    }
    PQsetErrorVerbosity(connection, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(connection, ldx_pg_hear, session);
    PQconninfoOption *options = PQconninfo(connection);
    double timeout = timeout_of(target, options);
    reached how = poll_connection(connection, timeout, target->stop);
    if (how == REACHED) {
      PQconninfoFree(options);
      PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
      return connection;
    }
    if (how == STOPPED) {
      ldx_error_set(error, LDX_ERROR_CANCELLED, "cancelled while connecting");
      PQconninfoFree(options);
      PQfinish(connection);
      return NULL;
    }
    if (how == REFUSED) {
      connection_error(connection, secrets, before, error);
      PQconninfoFree(options);
      PQfinish(connection);
      return NULL;
    }
    const char *hosts = option_of(options, "host"), *addresses = option_of(options, "hostaddr");
    const char *ports = option_of(options, "port");
    const char *at_host = PQhost(connection), *at_port = PQport(connection);
    int at = host_at(connection, hosts ? hosts : addresses, ports);
    size_t length = strlen(before);
    snprintf(before + length, sizeof before - length, "connection to server at \"%s\", port %s: no answer in %.3g s\n",
             at_host ? at_host : "", at_port ? at_port : "", timeout);
    const char *rest_hosts = after_comma(hosts, at + 1), *rest_addresses = after_comma(addresses, at + 1);
    bool more = rest_hosts || rest_addresses;
    if (more) {
      snprintf(host, sizeof host, "%s", rest_hosts ? rest_hosts : "");
      snprintf(hostaddr, sizeof hostaddr, "%s", rest_addresses ? rest_addresses : "");
      const char *rest_ports = ports && strchr(ports, ',') ? after_comma(ports, at + 1) : ports;
      snprintf(port, sizeof port, "%s", rest_ports ? rest_ports : "");
      next_host = host;
      next_hostaddr = hostaddr;
      next_port = port;
    }
    PQconninfoFree(options);
    PQfinish(connection);
    if (!more) {
      char line[sizeof error->message];
      ldx_redact(secrets, before, sizeof before);
      ldx_pg_one_line(line, sizeof line, before);
      ldx_error_set(error, LDX_ERROR_CONNECT, "%s", line);
      ldx_error_hint(error, "Check host and port, and that no firewall drops the packets.");
      return NULL;
    }
  }
}

/* --- what the target says, before anybody is asked ------------------------------------------------------------------ */

/* What libpq would quote in full, although a password may stand in it: `user:password` with the host forgotten, where
 * the password is taken for a port, and a URL where the name of a database belongs. */
static bool check_places(const PQconninfoOption *options, ldx_error *error) {
  const char *port = option_of(options, "port"), *database = option_of(options, "dbname");
  if (port && port[strspn(port, "0123456789,")]) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the target's port is not a number");
    ldx_error_hint(error, "Write postgresql://user:password@host:port/database.");
    return false;
  }
  if (!database) database = getenv("PGDATABASE");
  if (database && strstr(database, "://")) {
    ldx_error_set(error, LDX_ERROR_USAGE, "a URL stands where the name of a database belongs");
    ldx_error_hint(error, "Give it with --target or DATABASE_URL, by itself.");
    return false;
  }
  return true;
}

static bool check_target(const ldx_target *target, ldx_secrets *secrets, ldx_error *error) {
  const char *url = target->url ? target->url : "";
  ldx_secrets_of_target(secrets, url);
  if (ldx_target_is_ambiguous(url)) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the target's user or password holds a character that a URL may not");
    ldx_error_hint(error, "Write it percent-encoded: @ as %%40, / as %%2F, ? as %%3F, # as %%23.");
    return false;
  }
  /* A bare word is a database's name for libpq's expansion, but a mistake as a target: "" means the environment. */
  bool is_url = !strncmp(url, "postgres://", 11) || !strncmp(url, "postgresql://", 13);
  if (!is_url && *url && !strchr(url, '=')) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the target is neither a URL nor key=value");
    ldx_error_hint(error, "Write postgresql://user@host/database, or \"host=… dbname=…\".");
    return false;
  }
  char *reason = NULL;
  PQconninfoOption *options = PQconninfoParse(url, &reason);
  if (!options) {
    char text[2048], line[sizeof error->message];
    snprintf(text, sizeof text, "%s", reason ? reason : "out of memory");
    PQfreemem(reason);
    ldx_redact(secrets, text, sizeof text);
    ldx_redact_quoted(url, text, sizeof text);
    ldx_pg_one_line(line, sizeof line, text);
    ldx_error_set(error, LDX_ERROR_USAGE, "malformed target: %s", line);
    ldx_error_hint(error, "Write postgresql://user@host:port/database, or \"host=… dbname=…\".");
    return false;
  }
  const char *password = option_of(options, "password"), *key = option_of(options, "sslpassword");
  if (password) ldx_secrets_add(secrets, password);
  if (key) ldx_secrets_add(secrets, key);
  /* A password that is also the user's name would star every message, and give itself away by that. */
  static const char *const open[] = {"user", "dbname", "host", "port"};
  for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
    const char *value = option_of(options, open[i]);
    if (value) ldx_secrets_forget(secrets, value);
  }
  bool fine = check_places(options, error);
  PQconninfoFree(options);
  return fine;
}

/* Mistakes in the target that libpq finds only when it connects have no code: they are those where no socket was ever
 * tried. */
static void reclassify_usage(ldx_error *error) {
  if (!error || error->code != LDX_ERROR_CONNECT || error->native[0]) return;
  static const char *const mistakes[] = {"invalid port number",      "invalid sslmode value", "invalid integer value",
                                         "invalid channel_binding",  "invalid require_auth",  "invalid target_session",
                                         "definition of service",    "service file",          "could not match",
                                         "invalid ssl_min_protocol", "invalid gssencmode"};
  for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
    if (strstr(error->message, mistakes[i])) {
      error->code = LDX_ERROR_USAGE;
      ldx_error_hint(error, "Check the target, the PG* variables and the service file.");
      return;
    }
}

/* --- what server this is --------------------------------------------------------------------------------------------- */

static void append_encoded(ldx_buffer *buffer, const char *text) {
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c <= ' ' || c == 0x7F || strchr("%@/:?#&[]", c))
      ldx_buffer_appendf(buffer, "%%%02X", c);
    else
      ldx_buffer_append_char(buffer, *text);
  }
}

/* A URL that could be given back as a target, if somebody adds the password. */
static void write_display(ldx_server_info *info) {
  bool socket = info->host[0] == '/' || info->host[0] == '@';
  bool default_port = !strcmp(info->port, "5432") || !info->port[0];
  ldx_buffer b;
  ldx_buffer_init(&b, NULL);
  ldx_buffer_append(&b, "postgresql://");
  append_encoded(&b, info->user);
  ldx_buffer_append(&b, "@");
  if (!socket) {
    bool ipv6 = strchr(info->host, ':') != NULL;
    ldx_buffer_appendf(&b, ipv6 ? "[%s]" : "%s", info->host);
    if (!default_port) ldx_buffer_appendf(&b, ":%s", info->port);
  }
  ldx_buffer_append(&b, "/");
  append_encoded(&b, info->database);
  if (socket) {
    ldx_buffer_appendf(&b, "?host=%s", info->host);
    if (!default_port) ldx_buffer_appendf(&b, "&port=%s", info->port);
  }
  snprintf(info->display, sizeof info->display, "%s", ldx_buffer_string(&b));
  ldx_buffer_free(&b);
}

/* One round trip: reads what the server is, and sets what a session of ours needs, but only where the server process
 * is the one we connected to; a setting sent through a pooler would stay on somebody else's connection. */
static bool introduce(ldx_session *session, bool notices, ldx_error *error) {
  int version = PQserverVersion(session->connection);
  int pid = PQbackendPID(session->connection);
  static const struct {
    int since;
    const char *name, *value;
  } settings[] = {
      {0, "statement_timeout", "0"}, /* builds take hours; what has a limit sets it itself */
      {0, "lock_timeout", "0"},      /* it would count waits after the work, too */
      {0, "idle_in_transaction_session_timeout", "0"},
      {140000, "idle_session_timeout", "0"},
      {170000, "transaction_timeout", "0"},
      /* A client that is gone without a word must not keep the run lock for the two hours that are the usual. */
      {0, "tcp_keepalives_idle", "30"},
      {0, "tcp_keepalives_interval", "15"},
      {0, "tcp_keepalives_count", "4"},
      {0, "standard_conforming_strings", "on"},
      {0, "default_transaction_isolation", "read committed"},
      /* What changes texts that are compared or written down, or how they are read. A role or database may have set any
       * of it. DateStyle's other half, the order in which a day and a month are read, is for its owner to choose. */
      {0, "quote_all_identifiers", "off"},
      {0, "datestyle", "ISO"},
      {0, "intervalstyle", "postgres"},
      {0, "extra_float_digits", "1"},
      {0, "bytea_output", "hex"},
      {0, "transform_null_equals", "off"},
      {0, "array_nulls", "on"},
      {0, "xmloption", "content"},
      /* Constants are written down in these, and a zone or a currency left out is taken from them: a registry must mean
       * the same on every server. */
      {0, "timezone", "UTC"},
      {0, "lc_monetary", "C"},
  };
  ldx_buffer sql;
  ldx_buffer_init(&sql, NULL);
  /* The first column decides, and CASE evaluates in no other order. */
  ldx_buffer_appendf(
      &sql,
      "SELECT pg_catalog.pg_backend_pid() = %d, pg_catalog.current_setting('server_version'), "
      "pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('default_transaction_read_only')::bool, "
      "pg_catalog.current_database(), session_user, pg_catalog.pg_is_in_recovery(), "
      /* No clone or standby of a server began in the same microsecond. */
      "(SELECT pg_catalog.concat_ws('/', extract(epoch FROM pg_catalog.pg_postmaster_start_time()), oid) "
      "FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())",
      pid);
  static const char set[] =
      ", CASE WHEN pg_catalog.pg_backend_pid() = %d THEN pg_catalog.set_config('%s', '%s', false) END";
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
    if (version >= settings[i].since) ldx_buffer_appendf(&sql, set, pid, settings[i].name, settings[i].value);
  if (session->read_only) ldx_buffer_appendf(&sql, set, pid, "default_transaction_read_only", "on");
  if (!notices) ldx_buffer_appendf(&sql, set, pid, "client_min_messages", "warning");
  /* Such a database does not know what its bytes mean: asked for UTF-8, the server refuses to give those that are none,
   * be it the name of a table that nobody declares. They are taken as they are, and given back so. */
  ldx_buffer_appendf(&sql,
                     ", CASE WHEN pg_catalog.pg_backend_pid() = %d AND pg_catalog.current_setting('server_encoding') = "
                     "'SQL_ASCII' THEN pg_catalog.set_config('client_encoding', 'SQL_ASCII', false) END",
                     pid);
  /* The name of the tablespace that is taken anyway would be refused for everything partitioned. */
  ldx_buffer_appendf(
      &sql,
      ", CASE WHEN pg_catalog.pg_backend_pid() = %d AND pg_catalog.current_setting('default_tablespace') = "
      "(SELECT t.spcname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t "
      "ON t.oid = d.dattablespace WHERE d.datname = pg_catalog.current_database()) "
      "THEN pg_catalog.set_config('default_tablespace', '', false) END",
      pid);
  PGresult *result = ldx_pg_exec(session, ldx_buffer_string(&sql), error);
  ldx_buffer_free(&sql);
  if (!result) return false;
  if (PQntuples(result) != 1 || PQnfields(result) < 7 || strcmp(PQgetvalue(result, 0, 0), "t")) {
    PQclear(result);
    ldx_error_set(error, LDX_ERROR_POOLER,
                  "a connection pooler stands between us and the server (its process is not "
                  "the one we connected to)");
    ldx_error_hint(error, "Give the server's own address: builds, locks and cancelling need one server process.");
    return false;
  }
  ldx_server_info *info = &session->info;
  snprintf(info->product, sizeof info->product, "PostgreSQL");
  /* "15.18 (Debian 15.18-1)": the packager's part is of no interest. */
  const char *text = PQgetvalue(result, 0, 1);
  snprintf(info->version, sizeof info->version, "%.*s", (int)strcspn(text, " "), text);
  info->version_number = version;
  info->read_only = *PQgetvalue(result, 0, 2) == 't';
  info->standby = *PQgetvalue(result, 0, 5) == 't';
  snprintf(info->identity, sizeof info->identity, "%s", PQgetvalue(result, 0, 6));
  snprintf(info->database, sizeof info->database, "%s", PQgetvalue(result, 0, 3));
  snprintf(info->user, sizeof info->user, "%s", PQgetvalue(result, 0, 4));
  const char *host = PQhost(session->connection), *port = PQport(session->connection);
  snprintf(info->host, sizeof info->host, "%s", host && *host ? host : "");
  snprintf(info->port, sizeof info->port, "%s", port ? port : "");
  if (!info->host[0]) {
    const char *address = PQhostaddr(session->connection);
    snprintf(info->host, sizeof info->host, "%s", address ? address : "");
  }
  write_display(info);
  PQclear(result);
  if (version >= 140000 && version < 140004)
    snprintf(info->warning, sizeof info->warning,
             "PostgreSQL %s can corrupt an index that is built concurrently; fixed in 14.4", info->version);
  return true;
}

ldx_session *ldx_pg_open(const ldx_target *target, ldx_server_info *info, ldx_error *error) {
  ldx_secrets secrets = {0};
  ldx_session *session = NULL;
  bool ok = false;
  if (!check_target(target, &secrets, error)) goto out;
  session = calloc(1, sizeof *session);
  if (!session) {
    ldx_error_set(error, LDX_ERROR_INTERNAL, "out of memory");
    goto out;
  }
  ldx_pg_listen(session, target->context);
  PGconn *connection = connect_to(target, &secrets, session, error);
  if (!connection) {
    reclassify_usage(error);
    goto out;
  }
  session->connection = connection;
  session->read_only = target->read_only;
  session->cancel = PQgetCancel(connection);
  PQsetnonblocking(connection, 1);
  int version = PQserverVersion(connection);
  if (version < 130000) {
    ldx_error_set(error, LDX_ERROR_UNSUPPORTED, "PostgreSQL %d.%d is too old: 13 is the oldest supported version",
                  version / 10000, version % 10000);
    goto out;
  }
  if (!introduce(session, target->notices, error)) goto out;
  ldx_pg_listen(session, NULL);
  if (info) *info = session->info;
  ok = true;
out:
  ldx_secrets_free(&secrets);
  if (!ok) {
    ldx_pg_close(session);
    session = NULL;
  }
  return session;
}
