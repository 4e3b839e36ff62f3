/* read.h: rows of sql/indexes.sql and its companions → live indexes of a catalog. Serves the catalog of a database and
 * the shadows of `resolve`, so that both come out in the same canonical form.
 */
#ifndef LUNADEX_PG_READ_H
#define LUNADEX_PG_READ_H

#include "dictionary.h"
#include "model/catalog.h"

typedef struct ldx_pg_reader ldx_pg_reader;

/* In the catalog's arena; `version` decides which queries there are. */
ldx_pg_reader *ldx_pg_reader_new(ldx_catalog *catalog, int version);
/* Bytes a page, 8192 until told otherwise. */
void ldx_pg_reader_set_block_size(ldx_pg_reader *reader, double bytes);
ldx_pg_dictionary *ldx_pg_reader_dictionary(ldx_pg_reader *reader);
ldx_catalog *ldx_pg_reader_catalog(ldx_pg_reader *reader);
ldx_arena *ldx_pg_reader_arena(ldx_pg_reader *reader);

/* A relation and its column of number `number` (1 …), for indexes that are read next. */
ldx_relation *ldx_pg_reader_relation(ldx_pg_reader *reader, ldx_name name, uint32_t id, size_t numbers);
ldx_column *ldx_pg_reader_column(ldx_pg_reader *reader, ldx_relation *relation, size_t number, const char *name);

/* Rows of sql/columns.sql. State is the reader. */
enum { LDX_PG_COLUMN_COLUMNS = 7 };
void ldx_pg_read_column(void *reader, char **fields);

/* By attribute number, as the catalog counts; NULL for a dropped or system column. */
const ldx_column *ldx_pg_reader_attribute(const ldx_pg_reader *reader, const ldx_relation *relation,
                                          long long attribute);

/* sql/indexes.sql as this server's version takes it; rows are read with ldx_pg_read_index, state is the reader. */
const char *ldx_pg_reader_index_sql(ldx_pg_reader *reader);
enum { LDX_PG_INDEX_COLUMNS = 23 };
void ldx_pg_read_index(void *reader, char **fields);
/* A column of an index that has operator class parameters; comes before its index. */
void ldx_pg_reader_opclass_options(ldx_pg_reader *reader, uint32_t index, size_t number, const char *options);
/* Rows of sql/constraints.sql, after the indexes; then of its companions for newer servers. State is the reader. */
enum { LDX_PG_CONSTRAINT_COLUMNS = 16 };
void ldx_pg_read_constraint(void *reader, char **fields);
void ldx_pg_read_delete_columns(void *reader, char **fields);
void ldx_pg_read_newer_constraint(void *reader, char **fields);
void ldx_pg_read_key_dependents(void *reader, char **fields);

#endif
