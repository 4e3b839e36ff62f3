#include "target.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buffer.h"

static const char usage_hint[] = "Write mongodb://user:password@host:port/database, with %%40 for an @ in a password.";

/* Seconds. A link of PostgreSQL that has gone silent is given up after as long. */
static const double usual_patience = 90;

/* Indexes of these are the server's own. */
static bool is_internal(const char *database) {
  return !strcmp(database, "admin") || !strcmp(database, "config") || !strcmp(database, "local");
}

static bool check_database(const char *database, ldx_error *error) {
  if (!database || !*database) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the target names no database");
    ldx_error_hint(error, "Write it after the host: mongodb://host/DATABASE; where users are kept elsewhere, add "
                          "?authSource=admin.");
    return false;
  }
  if (is_internal(database)) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the database \"%s\" is the server's own", database);
    ldx_error_hint(error, "Name the application's database; if \"%s\" keeps its users, add ?authSource=%s.", database,
                   database);
    return false;
  }
  return true;
}

/* How long the server may be silent, which is the nearest to what the option says: a build takes as long as it takes. */
static double patience_of(const mongoc_uri_t *uri) {
  int32_t asked = ldx_mongoc.uri_get_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, 0);
  return asked > 0 ? asked / 1000.0 : asked < 0 ? INFINITY : usual_patience;
}

static bool settle(mongoc_uri_t *uri, const ldx_target *target) {
  bool ok = true;
  if (target->application_name && *target->application_name) {
    char name[128]; /* what the server takes, with the zero */
    snprintf(name, sizeof name, "%s", target->application_name);
    ok = ldx_mongoc.uri_set_appname(uri, name) && ok;
  }
  /* Silence is what ends a call (call.h). 0 would mean the default of five minutes. */
  ok = ldx_mongoc.uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS, -1) && ok;
  /* Whether to try again, and when, is decided where it can be cancelled. */
  ok = ldx_mongoc.uri_set_option_as_bool(uri, MONGOC_URI_SERVERSELECTIONTRYONCE, true) && ok;
  /* One host of a replica set stands for the set, as with the drivers of other languages. */
  if (!ldx_mongoc.uri_has_option(uri, MONGOC_URI_DIRECTCONNECTION) &&
      !ldx_mongoc.uri_get_option_as_bool(uri, MONGOC_URI_LOADBALANCED, false))
    ok = ldx_mongoc.uri_set_option_as_bool(uri, MONGOC_URI_DIRECTCONNECTION, false) && ok;
  return ok;
}

/* libmongoc takes a missing password for granted, and dereferences it. Users of certificates and the like have none. */
static bool check_password(const mongoc_uri_t *uri, ldx_error *error) {
  const char *mechanism = ldx_mongoc.uri_get_auth_mechanism(uri), *password = ldx_mongoc.uri_get_password(uri);
  bool needed = !mechanism || !strncasecmp(mechanism, "SCRAM-", 6) || !strcasecmp(mechanism, "PLAIN");
  if (!ldx_mongoc.uri_get_username(uri) || !needed || (password && *password)) return true;
  ldx_error_set(error, LDX_ERROR_USAGE, "the target names a user and no password");
  ldx_error_hint(error, usage_hint);
  return false;
}

/* libmongoc would say that the connection failed, and no more. */
static bool check_files(const mongoc_uri_t *uri, ldx_error *error) {
  static const char *const options[] = {"tlsCAFile", "tlsCertificateKeyFile"};
  for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
    const char *path = ldx_mongoc.uri_get_option_as_utf8(uri, options[i], NULL);
    if (path && access(path, R_OK) != 0)
      return ldx_error_set(error, LDX_ERROR_USAGE, "%s of the target, %s, cannot be read: %s", options[i], path,
                           strerror(errno));
  }
  return true;
}

mongoc_uri_t *ldx_mongo_target_parse(const ldx_target *target, ldx_secrets *secrets, double *patience,
                                     ldx_error *error) {
  ldx_secrets_of_target(secrets, target->url);
  if (ldx_target_is_ambiguous(target->url)) {
    ldx_error_set(error, LDX_ERROR_USAGE, "the target's user or password holds a character that a URL may not");
    ldx_error_hint(error, "Write it percent-encoded: @ as %%40, / as %%2F, ? as %%3F, # as %%23.");
    return NULL;
  }
  bson_error_t reason = {0};
  mongoc_uri_t *uri = ldx_mongoc.uri_new_with_error(target->url, &reason);
  if (!uri) {
    char text[sizeof reason.message];
    snprintf(text, sizeof text, "%s", reason.message);
    ldx_redact(secrets, text, sizeof text);
    ldx_error_set(error, LDX_ERROR_USAGE, "malformed target: %s", text);
    ldx_error_hint(error, usage_hint);
    return NULL;
  }
  if (ldx_mongoc.uri_get_password(uri)) ldx_secrets_add(secrets, ldx_mongoc.uri_get_password(uri));
  /* A password that is also the user's name would star every message, and give itself away by that. */
  if (ldx_mongoc.uri_get_username(uri)) ldx_secrets_forget(secrets, ldx_mongoc.uri_get_username(uri));
  for (const mongoc_host_list_t *host = ldx_mongoc.uri_get_hosts(uri); host; host = host->next)
    ldx_secrets_forget(secrets, host->host_and_port);
  if (!check_database(ldx_mongoc.uri_get_database(uri), error) || !check_password(uri, error) ||
      !check_files(uri, error)) {
    ldx_mongoc.uri_destroy(uri);
    return NULL;
  }
  *patience = patience_of(uri);
  if (!settle(uri, target)) {
    ldx_mongoc.uri_destroy(uri);
    ldx_error_set(error, LDX_ERROR_USAGE, "the target's options contradict what an index engine needs");
    return NULL;
  }
  return uri;
}

static void append_encoded(ldx_buffer *buffer, const char *text) {
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c <= ' ' || c == 0x7F || strchr("%@/:?#&[]", c))
      ldx_buffer_appendf(buffer, "%%%02X", c);
    else
      ldx_buffer_append_char(buffer, *text);
  }
}

/* The options that say which deployment it is; others may be secret, or are of no interest. */
static void append_options(ldx_buffer *buffer, const mongoc_uri_t *uri) {
  const char *separator = "?";
  const char *set = ldx_mongoc.uri_get_replica_set(uri), *source = ldx_mongoc.uri_get_auth_source(uri);
  if (set) {
    ldx_buffer_appendf(buffer, "%sreplicaSet=", separator);
    append_encoded(buffer, set);
    separator = "&";
  }
  if (source && ldx_mongoc.uri_get_username(uri) && strcmp(source, ldx_mongoc.uri_get_database(uri)) != 0) {
    ldx_buffer_appendf(buffer, "%sauthSource=", separator);
    append_encoded(buffer, source);
    separator = "&";
  }
  if (ldx_mongoc.uri_get_option_as_bool(uri, MONGOC_URI_DIRECTCONNECTION, false)) {
    ldx_buffer_appendf(buffer, "%sdirectConnection=true", separator);
    separator = "&";
  }
  /* mongodb+srv:// means TLS anyway. */
  if (ldx_mongoc.uri_get_tls(uri) && !ldx_mongoc.uri_get_srv_hostname(uri))
    ldx_buffer_appendf(buffer, "%stls=true", separator);
}

void ldx_mongo_target_describe(const mongoc_uri_t *uri, ldx_server_info *info) {
  const char *user = ldx_mongoc.uri_get_username(uri), *database = ldx_mongoc.uri_get_database(uri);
  const char *service = ldx_mongoc.uri_get_srv_hostname(uri);
  const mongoc_host_list_t *hosts = ldx_mongoc.uri_get_hosts(uri);
  snprintf(info->database, sizeof info->database, "%s", database);
  snprintf(info->user, sizeof info->user, "%s", user ? user : "");
  snprintf(info->host, sizeof info->host, "%s", service ? service : hosts ? hosts->host : "");
  if (hosts && !service) snprintf(info->port, sizeof info->port, "%u", hosts->port);
  ldx_buffer b;
  ldx_buffer_init(&b, NULL);
  ldx_buffer_append(&b, service ? "mongodb+srv://" : "mongodb://");
  if (user) {
    append_encoded(&b, user);
    ldx_buffer_append_char(&b, '@');
  }
  if (service) ldx_buffer_append(&b, service);
  for (const mongoc_host_list_t *host = hosts; host && !service; host = host->next) {
    bool usual = host->port == MONGOC_DEFAULT_PORT, socket = host->host[0] == '/';
    if (socket)
      append_encoded(&b, host->host);
    else
      ldx_buffer_appendf(&b, strchr(host->host, ':') ? "[%s]" : "%s", host->host);
    if (!usual && !socket) ldx_buffer_appendf(&b, ":%u", host->port);
    if (host->next) ldx_buffer_append_char(&b, ',');
  }
  ldx_buffer_append_char(&b, '/');
  append_encoded(&b, database);
  append_options(&b, uri);
  snprintf(info->display, sizeof info->display, "%s", ldx_buffer_string(&b));
  ldx_buffer_free(&b);
}
