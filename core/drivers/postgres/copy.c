#include "copy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

/* Undoes COPY's escapes in place. */
static void unescape(char *text) {
  char *to = strchr(text, '\\');
  if (!to) return;
  for (const char *from = to; *from; from++) {
    if (*from != '\\') {
      *to++ = *from;
      continue;
    }
    switch (*++from) {
    case 'b':
      *to++ = '\b';
      break;
    case 'f':
      *to++ = '\f';
      break;
    case 'n':
      *to++ = '\n';
      break;
    case 'r':
      *to++ = '\r';
      break;
    case 't':
      *to++ = '\t';
      break;
    case 'v':
      *to++ = '\v';
      break;
    default:
      *to++ = *from;
    }
  }
  *to = '\0';
}

/* Splits a row in place. False if it has another number of columns, which would be a mistake of ours. */
static bool split_row(char *row, char **fields, size_t columns) {
  size_t count = 0;
  for (char *field = row; field; count++) {
    char *end = field + strcspn(field, "\t\n");
    char *next = *end == '\t' ? end + 1 : NULL;
    *end = '\0';
    if (count == columns) return false;
    if (strcmp(field, "\\N") == 0) {
      fields[count] = NULL;
    } else {
      unescape(field);
      fields[count] = field;
    }
    field = next;
  }
  return count == columns;
}

static bool read_rows(ldx_session *session, const ldx_pg_copy *query, ldx_error *error) {
  PGconn *connection = ldx_pg_connection(session);
  char *fields[LDX_PG_COPY_COLUMNS];
  char *row;
  bool well = true;
  while (PQgetCopyData(connection, &row, 0) > 0) {
    if (split_row(row, fields, query->columns))
      query->read(query->state, fields);
    else
      well = false;
    PQfreemem(row);
  }
  return well || ldx_error_set(error, LDX_ERROR_INTERNAL, "a catalog query answered with other columns than asked for");
}

bool ldx_pg_copy_all(ldx_session *session, const char *before, const ldx_pg_copy *queries, size_t count,
                     const char *after, ldx_error *error) {
  PGconn *connection = ldx_pg_connection(session);
  ldx_buffer text;
  ldx_buffer_init(&text, NULL);
  ldx_buffer_append(&text, before);
  for (size_t i = 0; i < count; i++)
    if (queries[i].sql)
      ldx_buffer_appendf(&text, "copy (%s%s\n) to stdout;\n", queries[i].sql,
                         queries[i].filter ? queries[i].filter : "");
  ldx_buffer_append(&text, after);
  bool ok = PQsendQuery(connection, ldx_buffer_string(&text)) == 1;
  ldx_buffer_free(&text);
  if (!ok) ldx_pg_error_from_result(session, NULL, error);
  /* On an error the server skips the rest of the text; what it sent is drained all the same. */
  size_t next = 0;
  PGresult *result;
  while ((result = PQgetResult(connection)) != NULL) {
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COPY_OUT) {
      while (next < count && !queries[next].sql) next++;
      if (!read_rows(session, &queries[next++], ok ? error : NULL)) ok = false;
    } else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && ok) {
      ldx_pg_error_from_result(session, result, error);
      ok = false;
    }
    PQclear(result);
  }
  if (ok && PQstatus(connection) != CONNECTION_OK) {
    ldx_pg_error_from_result(session, NULL, error);
    ok = false;
  }
  return ok;
}

/* --- fields ------------------------------------------------------------------------------------------------------- */

uint32_t ldx_pg_number(const char *field) {
  return field ? (uint32_t)strtoul(field, NULL, 10) : 0;
}

bool ldx_pg_true(const char *field) {
  return field && *field == 't';
}

/* --- arrays ------------------------------------------------------------------------------------------------------- */

/* One element of an array's text; returns what follows it. */
static const char *array_element(ldx_arena *arena, const char *text, const char **element) {
  ldx_buffer out;
  ldx_buffer_init(&out, arena);
  if (*text == '"') {
    for (text++; *text && *text != '"'; text++) {
      if (*text == '\\' && text[1]) text++;
      ldx_buffer_append_char(&out, *text);
    }
    *element = ldx_buffer_string(&out);
    return *text ? text + 1 : text;
  }
  const char *end = text + strcspn(text, ",}");
  *element = ldx_arena_strndup(arena, text, (size_t)(end - text));
  return end;
}

ldx_strings ldx_pg_array(ldx_arena *arena, const char *text) {
  ldx_strings out = {0, NULL};
  if (!text || *text != '{' || text[1] == '}') return out;
  size_t room = 1;
  for (const char *p = text; *p; p++) room += *p == ',';
  out.items = LDX_ARENA_NEW(arena, const char *, room);
  for (text++; *text && *text != '}';) {
    text = array_element(arena, text, &out.items[out.count++]);
    if (*text == ',') text++;
  }
  return out;
}

size_t ldx_pg_numbers(const char *text, long long *out, size_t room) {
  size_t count = 0;
  while (text && *text) {
    if (*text == '-' || isdigit((unsigned char)*text)) {
      char *end;
      long long number = strtoll(text, &end, 10);
      if (count < room) out[count] = number;
      count++;
      text = end;
    } else {
      text++;
    }
  }
  return count;
}
