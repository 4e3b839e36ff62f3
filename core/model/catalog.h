/* model/catalog.h: how a driver makes a catalog. Readers use lunadex/catalog.h. */
#ifndef LUNADEX_MODEL_CATALOG_H
#define LUNADEX_MODEL_CATALOG_H

#include "lunadex/catalog.h"

/* With one reference, empty. `dialect` outlives it. */
ldx_catalog *ldx_catalog_new(const ldx_dialect *dialect);
ldx_arena *ldx_catalog_arena(ldx_catalog *catalog);
/* Zeroed, in the catalog's arena; the pointers are good for the catalog's life. `definition` is in the arena, too; it may
 * still be filled in, or be that of several. */
ldx_relation *ldx_catalog_add_relation(ldx_catalog *catalog, ldx_name name, uint32_t id);
ldx_live *ldx_catalog_add_live(ldx_catalog *catalog, ldx_relation *relation, const char *name, uint32_t id,
                               ldx_definition *definition);
/* The schemas that a name without one is looked up in, in order. */
void ldx_catalog_set_search_path(ldx_catalog *catalog, ldx_strings schemas);
/* The names of those there are. */
void ldx_catalog_set_tablespaces(ldx_catalog *catalog, ldx_strings tablespaces);
/* While it is being made: by the driver's number. */
ldx_relation *ldx_catalog_relation_by_id(const ldx_catalog *catalog, uint32_t id);
ldx_live *ldx_catalog_live_by_id(const ldx_catalog *catalog, uint32_t id);
/* In no order. */
ldx_live *ldx_catalog_live_at(const ldx_catalog *catalog, size_t i);
/* Once all is there: links relations with their live ones, orders them, and fingerprints those that have no fingerprint
 * yet. */
void ldx_catalog_finish(ldx_catalog *catalog);
/* After that: a relation that is declared and not there, where a database makes it with its first index. For `resolve`,
 * while nobody else has the catalog. It comes last in the order. */
ldx_relation *ldx_catalog_add_absent(ldx_catalog *catalog, ldx_name name);

#endif
