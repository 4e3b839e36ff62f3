/* dictionary.h: the server's names for the numbers in pg_index, and the default operator class of a type. */
#ifndef LUNADEX_PG_DICTIONARY_H
#define LUNADEX_PG_DICTIONARY_H

#include "copy.h"

typedef struct ldx_pg_dictionary ldx_pg_dictionary;

/* In `arena`, which also keeps all its strings; empty until its queries have run. */
ldx_pg_dictionary *ldx_pg_dictionary_new(ldx_arena *arena);

/* The queries that fill it, for a round trip of the caller's: written to `queries`, which has room for as many. */
enum { LDX_PG_DICTIONARY_QUERIES = 6 };
void ldx_pg_dictionary_queries(ldx_pg_dictionary *dictionary, ldx_pg_copy *queries);
/* Names in registry notation (`text_pattern_ops`, `public.gin_trgm_ops`); "?" for a number that is not there. */
const char *ldx_pg_method_name(ldx_pg_dictionary *dictionary, uint32_t method);
const char *ldx_pg_opclass_name(ldx_pg_dictionary *dictionary, uint32_t opclass);
const char *ldx_pg_collation_name(ldx_pg_dictionary *dictionary, uint32_t collation);
const char *ldx_pg_tablespace_name(ldx_pg_dictionary *dictionary, uint32_t tablespace);
/* All of them, in `arena`. */
ldx_strings ldx_pg_tablespace_names(ldx_pg_dictionary *dictionary, ldx_arena *arena);

/* The type below the domains that `type` is of, or itself; `*not_null`: one of these says that no value is null. */
uint32_t ldx_pg_base_type(ldx_pg_dictionary *dictionary, uint32_t type, bool *not_null);

/* Whether `opclass` is what the server takes for a key of this type when none is given. */
bool ldx_pg_opclass_is_default(ldx_pg_dictionary *dictionary, uint32_t method, uint32_t opclass, uint32_t type);

#endif
