/* render.h: PostgreSQL's notation: names, and definitions as SQL.
 *
 * Names in definitions (relations, opclasses, collations) are written as in a registry: `schema.name`, a part in double
 * quotes only where it holds a dot, a quote or is empty, and never case-folded. In SQL every identifier is quoted.
 * Results are allocated in `arena`.
 */
#ifndef LUNADEX_PG_RENDER_H
#define LUNADEX_PG_RENDER_H

#include "lunadex/driver.h"

/* "orders" — always quoted, for SQL. */
char *ldx_pg_quote_identifier(ldx_arena *arena, const char *name);
/* 'it''s' — for SQL; sessions have standard_conforming_strings on. */
char *ldx_pg_quote_literal(ldx_arena *arena, const char *text);
/* "public"."orders" — for SQL. */
char *ldx_pg_quote_name(ldx_arena *arena, ldx_name name);
/* public.orders, public."Odd.Name" — for people and registries. */
char *ldx_pg_display_name(ldx_arena *arena, ldx_name name);
/* The reverse of display; also accepts every part quoted. False if the text is not a name of one or two parts. */
bool ldx_pg_split_name(ldx_arena *arena, const char *text, ldx_name *out);

/* CREATE [UNIQUE] INDEX …: for indexes, and for the unique index under a unique constraint or primary key. */
char *ldx_pg_build_sql(ldx_arena *arena, const ldx_definition *definition, const char *name, ldx_mode mode, bool only);
/* The same on another relation: the shadow that `resolve` reads a canonical form from. */
char *ldx_pg_build_sql_on(ldx_arena *arena, const ldx_definition *definition, const char *name,
                          const char *relation_sql);
/* What stands after ADD CONSTRAINT name: `UNIQUE ("a")`, `FOREIGN KEY ("a") REFERENCES "s"."t" ("id") ON DELETE CASCADE`. */
char *ldx_pg_constraint_sql(ldx_arena *arena, const ldx_definition *definition);
/* The value of a storage option as SQL: quoted unless it is a plain word or number. */
char *ldx_pg_option_value(ldx_arena *arena, const char *value);

#endif
