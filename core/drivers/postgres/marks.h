/* marks.h: what hangs on an index besides its definition. */
#ifndef LUNADEX_POSTGRES_MARKS_H
#define LUNADEX_POSTGRES_MARKS_H

#include "attempt.h"

/* Statements, each beginning with ";\n", that give to `heir` what hangs on the index `name` of the step's relation: the
 * replica identity, the clustering, the comment. "" if nothing does; NULL after filling the attempt's error. */
char *ldx_pg_sql_inherit_marks(ldx_pg_attempt *attempt, const char *name, const char *heir);

#endif
