/* fake.h: a driver without a server, for tests of the engine and of what stands on it: does what its script says.
 *
 * The target is the script: "fake:NAME?CALL=ACTION,ACTION,…;CALL=…". Sessions with the same target share one place in
 * it. A CALL is open, alive, catalog, resolve, perform, watch, measure, lock, unlock, hold, query, transact, status or
 * cancel. Each call takes its next ACTION; after the last one, all is well.
 *   ok        done at once
 *   ok(S)     done after S seconds; `cancel` ends it earlier, as a server would
 *   fail(C)   fails with the error code C
 *   hang      until it is cancelled
 *   deaf(S)   S seconds that no cancel request shortens; of `cancel`: so long, and in vain
 *   lose      the link is lost: LDX_ERROR_LINK_LOST, and the session is dead
 * An action may be followed by *N, which is N times, or by * alone, for ever. `perform`, `query` and `transact` take
 * note(TEXT) and notice(TEXT), too: they tell TEXT and go on with the next action; and write: done if the run lock allows
 * it. For `watch`: waiting (for the table's lock), working, draining; for `hold`: good(S), for S seconds; the last one of
 * their lists stays. Other texts for them mean what they mean elsewhere.
 *
 * `tables=NAME,NAME` gives the target a database: relations with these names, whose indexes are built, dropped and changed
 * as the steps say (store.h), once the action of the step has gone well; `duplicates=COLUMN` makes unique indexes on that
 * column fail. Without it all is well, whatever it is about.
 *
 * All may be called from any thread.
 */
#ifndef LUNADEX_DRIVERS_FAKE_H
#define LUNADEX_DRIVERS_FAKE_H

#include "lunadex/driver.h"

extern const ldx_driver ldx_driver_fake;
extern const ldx_driver ldx_driver_fake_lease; /* its lock has to be renewed: with `hold` */

/* How often `call` was made with this target; "cancel" and "close" count, too. */
int ldx_fake_count(const char *target, const char *call);
/* Sessions that are open, over all targets: 0 after a clean end. */
int ldx_fake_sessions(void);
/* What two threads did on one session at once, which is never allowed; 0 if all was well. */
int ldx_fake_violations(void);
/* Starts the script of every target from the beginning, with all counts at 0. No session may be open. */
void ldx_fake_reset(void);

#endif
