/* marks.h: what hangs on an index besides its definition. */
#ifndef LUNADEX_POSTGRES_MARKS_H
#define LUNADEX_POSTGRES_MARKS_H

#include "attempt.h"

/* Statements, each beginning with ";\n", that give what hangs on the index `name` of the step's relation to whatever has
 * the name after it, which is called `heir` until then, and what hangs on its parts to the heir's parts (`heir` NULL: to
 * nobody): replica identity, clustering, comment, the comment of the constraint it is under if the heir is a
 * `constraint`, too, and the statistics targets of expressions that both index. They belong at the end of the transaction in which the name goes over. "" if nothing hangs on it, or
 * there is no such index; NULL after filling the attempt's error. */
char *ldx_pg_sql_inherit_marks(ldx_pg_attempt *attempt, const char *name, const char *heir, bool constraint);

#endif
