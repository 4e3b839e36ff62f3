/* perform.h: ldx_driver.perform. */
#ifndef LUNADEX_POSTGRES_PERFORM_H
#define LUNADEX_POSTGRES_PERFORM_H

#include "session.h"

bool ldx_pg_perform(ldx_session *session, const ldx_step *step, ldx_context *context, ldx_error *error);

#endif
