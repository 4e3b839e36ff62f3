/* patience.h: how long what only reads waits for a table that somebody locks, and what is said meanwhile.
 *
 * Nothing but ACCESS EXCLUSIVE keeps a reader waiting, and those who take it for a migration are told to have done after
 * a few seconds. So a read asks for its locks in slices, tells whom it waits for after the first, and gives up after
 * several; whether it is tried again is the engine's to say.
 */
#ifndef LUNADEX_PG_PATIENCE_H
#define LUNADEX_PG_PATIENCE_H

#include "session.h"

/* One slice, for the transaction that reads. */
#define LDX_PG_READ_SLICE "set local lock_timeout = '2s'; "

typedef struct ldx_pg_patience {
  ldx_session *session;
  ldx_context *context; /* hears of it; may be NULL */
  double began;
  bool told; /* whom it waits for */
} ldx_pg_patience;

ldx_pg_patience ldx_pg_patience_new(ldx_session *session, ldx_context *context);
/* To be called when a read has failed with `error`, and is rolled back: true if it was for a lock and there is patience
 * left for another slice. Otherwise the error is the caller's to pass on; one for a lock then says who has the table.
 * `relations`: the oids the read is about, as an array's text; NULL: all whose indexes have a text to be read. */
bool ldx_pg_patience_left(ldx_pg_patience *patience, const char *relations, ldx_error *error);

#endif
