/* copy.h: many queries in one round trip, their rows by COPY: the leanest way to read a catalog, for both sides. */
#ifndef LUNADEX_PG_COPY_H
#define LUNADEX_PG_COPY_H

#include "session.h"

/* One row: NULL for null, the text is lent for the call and may be changed in place. */
typedef void (*ldx_pg_row_reader)(void *state, char **fields);

typedef struct ldx_pg_copy {
  const char *sql;    /* one SELECT, NULL: left out */
  const char *filter; /* appended to it; NULL: nothing */
  size_t columns;     /* at most LDX_PG_COPY_COLUMNS */
  ldx_pg_row_reader read;
  void *state; /* handed to `read` */
} ldx_pg_copy;

enum { LDX_PG_COPY_COLUMNS = 32 };

/* Sends `before`, the queries and `after` (statements of their own, may be "") as one text, and hands each row to its
 * query's reader. False after filling `error`; readers may have seen some rows then. */
bool ldx_pg_copy_all(ldx_session *session, const char *before, const ldx_pg_copy *queries, size_t count,
                     const char *after, ldx_error *error);

/* A field as an Oid or other unsigned number (NULL: 0), and as a boolean (NULL: false). */
uint32_t ldx_pg_number(const char *field);
bool ldx_pg_true(const char *field);
/* The elements of an array's text form (`{a,"b c",NULL}`), or of a vector's (`1 2`), allocated in `arena`. */
ldx_strings ldx_pg_array(ldx_arena *arena, const char *text);
/* The numbers of an array or vector; at most `room`, returns how many there are. */
size_t ldx_pg_numbers(const char *text, long long *out, size_t room);

#endif
