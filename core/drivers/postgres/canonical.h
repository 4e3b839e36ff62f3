/* canonical.h: a declared definition brought as near to the server's form as can be without asking the server. */
#ifndef LUNADEX_PG_CANONICAL_H
#define LUNADEX_PG_CANONICAL_H

#include "lunadex/diff.h"

/* Finds the relation and its columns and fills `canonical` and `fingerprint` from the text alone: names as the server
 * writes them, outer parentheses gone, what a foreign key leaves out filled in. False after setting `declared->error`.
 * Memory is the set's arena's. */
bool ldx_pg_canonicalize(ldx_arena *arena, const ldx_catalog *catalog, ldx_declared *declared);

/* Gives the declaration an error of its own; `hint` may be NULL. Always false. */
bool ldx_pg_refuse(ldx_arena *arena, ldx_declared *declared, ldx_error_code code, const char *message,
                   const char *hint);

/* Whether the server could still see it otherwise: there is an expression, predicate, operator class or collation. */
bool ldx_pg_needs_server(const ldx_definition *definition);

/* ldx_driver.spell: expressions and predicates as the parser prints them. */
void ldx_pg_spell(ldx_declarations *set);

#endif
