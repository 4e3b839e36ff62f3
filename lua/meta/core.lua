---@meta lunadex.core
-- The C core as Lua sees it (core/lua/). Everything here is documented for the authors of lua/lunadex/; users' scripts
-- use the functions of `lunadex` itself. The environment's failures return `nil, err`; misuse raises.

error("Cannot require a meta file")

---@class lunadex.Error            # a failure as a value; `tostring(err)` is "message (hint)"
---@field code string              # see core/include/lunadex/error.h: "connect", "lock_timeout", "duplicate_key" …
---@field message string
---@field detail string?           # the server's detail
---@field hint string?             # a sentence: what to do
---@field native string?           # SQLSTATE
---@field context string?          # inside which function of the server it happened
---@field retryable boolean        # the same call may succeed later
---@field retry "again"|"reconnect"|"verify"|nil   # nothing was done; it was never sent; it may have been done

---@class lunadex.Key
---@field column string?           # exact name; or
---@field expression string?       # the dialect's text
---@field descending boolean?
---@field nulls "first"|"last"|nil # nil: the dialect's default for the direction
---@field opclass string?          # SQL name
---@field opclass_options string[][]?   # { {"siglen", "32"}, … }
---@field collation string?        # SQL name
---@field operator string?         # exclusion constraints

---@class lunadex.Fields           # a definition as a table: what the registry makes, what SQL is parsed into,
                                   -- what a live index gives back
---@field kind "index"|"unique_constraint"|"primary_key"|"exclusion_constraint"|"foreign_key"
---@field schema string?           # nil: the search path
---@field relation string
---@field name string?             # nil: none given
---@field method string?           # nil: btree; "": the database has none
---@field keys lunadex.Key[]
---@field include string[]?
---@field where string?
---@field unique boolean?
---@field nulls_not_distinct boolean?
---@field without_overlaps boolean?
---@field traits string[][]?       # MongoDB: sparse, collation, wildcardProjection, as JSON
---@field with string[][]?         # storage parameters in order: { {"fillfactor", "70"}, … }; MongoDB: other options as JSON
---@field tablespace string?
---@field deferrable boolean?
---@field initially_deferred boolean?
---@field not_enforced boolean?
---@field references {schema: string?, relation: string, columns: string[]?}?
---@field on_update string?
---@field on_delete string?
---@field on_delete_columns string[]?
---@field match string?
---@field duplicate_of string?     # declared on purpose though it repeats that one's definition

---@class lunadex.core
local core = {}

---@type string
core.version = ""

--- Parses one `CREATE [UNIQUE] INDEX …` (or `ALTER TABLE … ADD [CONSTRAINT …]` of a key) into fields.
--- CONCURRENTLY and IF NOT EXISTS are accepted and forgotten. Texts of expressions and predicates are slices of `sql`.
---@param sql string
---@return lunadex.Fields? fields
---@return lunadex.Error? err     # code "invalid_definition"; the message names what is wrong and where in the text
function core.parse_sql(sql) end

--- The parameters of an SQL text, each as often as it stands there and not in a literal or comment; nil for a text that
--- would not stay by itself between parentheses, such as "a) OR (b", or is empty. What else it says is not looked at.
---@param text string              # "a = $1"
---@return string[]? parameters    # { "$1" }
---@return lunadex.Error? err      # code "invalid_definition"
function core.parameters(text) end

--- The columns that a text assigns to which is to stand behind SET in an UPDATE.
---@param text string              # "a = 1, (b, c) = (2, 3)"
---@return string[]? columns       # in lower case unless quoted
---@return lunadex.Error? err      # code "invalid_definition": it is something else, or has more than assignments
function core.assigned_columns(text) end

--- The columns of which an SQL predicate is true for no null, as far as its text tells: operators and functions are taken
--- for the server's own. A check holds where it is null: of one, they are those for which it is false.
---@param predicate string         # "a > 1 AND b IS NOT NULL OR a = b"
---@param check boolean?           # it is that of a check
---@return string[]? columns       # { "a", "b" }
---@return boolean|lunadex.Error nothing_else   # whether it says no more than that they are not null; or why it cannot be read
function core.excluded_nulls(predicate, check) end

--- A number as a parameter of PostgreSQL is sent: with as few digits as it is told from others by, "NaN", "-Infinity".
---@param number number
---@return string
function core.number_text(number) end

--- Whether `text` is one SQL expression and nothing else: no list, no subquery, no second statement. Names in it are not
--- looked up.
---@param text string
---@return string? text            # without comments and parentheses around it
---@return lunadex.Error? err      # code "invalid_definition"
function core.check_expression(text) end

--- 32 hexadecimal digits that tell texts apart.
---@param text string
---@return string
function core.fingerprint(text) end

--- The candidate that `word` is most likely a slip of, or nil when none is near enough to be worth offering.
---@param word string
---@param candidates string[]|table<string, any>   # a list, or a table whose string keys are meant
---@return string?
function core.nearest(word, candidates) end

--- `public.orders`, `public."Odd.Name"`: how the dialect writes a qualified name; and one identifier.
---@param schema string?
---@param name string
---@return string
function core.quote_name(schema, name) end
--- The reverse: splits `a.b`, `"x.y"."z"` into schema and name. No case folding: a name is meant as it is written.
---@param text string
---@return string? schema
---@return string? name           # nil if the text is not a (qualified) name
function core.split_name(text) end

--- Runs `chunk` (a function loaded with mode "t") protected, under limits that it cannot catch or lift.
---@param chunk function
---@param limits {instructions: integer, memory: integer, seconds: number?}   # VM instructions; bytes above what is in
--- use now; of the processor (default 60)
---@return boolean ok
---@return any result_or_message   # like pcall; "instructions", "time" or "memory" besides when a limit ended it
---@return string? limit
function core.run_limited(chunk, limits) end

--- Functions of Lua's libraries that may run for hours inside C, where run_limited cannot stop them: the same, but what
--- they do is counted. The rest of the libraries allocates what it works on, which is counted, too, or is done at once.
---@type {string: table<string, function>, table: table<string, function>}
core.counted = nil

--- The line that the function at `level` is at, 0 if it has none: debug.getinfo(level, "l") without a table.
---@param level integer?           # 1: the caller
---@return integer
function core.current_line(level) end

--- The names in a directory in byte order, directories with a "/" at the end.
---@param path string
---@return string[]? names
---@return string? message
---@return "missing"|"file"|"error"|nil kind
function core.list_directory(path) end

--- Where a path leads behind symbolic links, and what is there: "missing" leaves it as it was given, "other" is a
--- directory, a device, a pipe, a link that leads nowhere.
---@param path string
---@return string place
---@return "file"|"missing"|"other" kind
function core.resolve_path(path) end

--- Makes a file, and the directories it is in, for its owner alone, unless it is there.
---@param path string
---@return true? there
---@return string? message
function core.private_file(path) end

---@class lunadex.Declarations     # a set for one database
local Declarations = {}
---@return lunadex.Declarations
function core.declarations() end
--- Raises on a malformed table (the registry has checked it before).
---@param fields lunadex.Fields
---@return integer ordinal         # 1, 2, …
---@return string? name
---@return integer? twin           # the latest one before it that is the same definition on the same relation
function Declarations:add(fields) end
--- Takes a declaration straight from the braces of `index { … }`, if it is so plain that nothing in it needs a second
--- look; else it gives nothing. `known`: keys (as written → lunadex.Key) and expressions (as written → as kept) that
--- have been found right.
---@param raw table
---@param kind string              # lunadex.Fields.kind
---@param schema string?
---@param relation string
---@param known {keys: table<table, lunadex.Key>, expressions: table<string, string>}
---@return integer? ordinal
---@return string? name
---@return integer? twin
function Declarations:add_plain(raw, kind, schema, relation, known) end
--- The same declarations for one run, which resolves them; nothing can be added to the set any more.
---@return lunadex.Declarations
function Declarations:copy() end
--- For a copy that is not resolved as there is no server: brings definitions that mean the same to the same text, as far
--- as that can be told without one, and has `text` word them as that kind of database does.
---@param driver "postgres"|"mongodb"
function Declarations:spell(driver) end
--- The latest declaration before this one that is the same definition on the same relation, as they were written.
---@param ordinal integer
---@return integer?
function Declarations:twin(ordinal) end
--- A relation that the registry speaks of, with or without indexes: what else is live on it is stray.
---@param schema string?
---@param name string
function Declarations:add_relation(schema, name) end
---@return integer
function Declarations:count() end
--- The one-line text of an entry (`UNIQUE btree (a, b DESC) WHERE …`), canonical once resolved.
---@param ordinal integer
---@return string
function Declarations:text(ordinal) end
--- The canonical fields once resolved, else as declared, with schema filled in.
---@param ordinal integer
---@return lunadex.Fields
function Declarations:fields(ordinal) end

--- By ordinal, which other indexes begin with all keys of a declared index or key, whatever the direction, on the same
--- relation, by the same method and with the same predicate: ordinals of others, then what is live there and not
--- declared. Without a diff only declarations count.
---@param diff lunadex.Diff?
---@return table<integer, (integer|lunadex.Index)[]>
function Declarations:overlaps(diff) end

--- The ordinals, in order, of declared indexes and keys that are like this; what is nil may be anything.
---@param filter {kind: string?, method: string?, unique: boolean?, where: boolean?, keys: integer?, type: integer?,
---       sharded: boolean?}
--- where: whether there is a predicate; keys: how many; type: of the column, where there is but one key; sharded: whether
--- its collection is
---@return integer[]
function Declarations:select(filter) end

---@class lunadex.Catalog          # what is live; immutable; made by a catalog job
---@field relation_count integer
---@field index_count integer
---@field sharded boolean          # some relation is
local Catalog = {}
--- The relation of that exact name (search path without schema), or nil.
---@param schema string?
---@param name string
---@return lunadex.Relation?
function Catalog:relation(schema, name) end
---@return fun(): lunadex.Relation?   # in order of schema and name
function Catalog:relations() end
--- Any live index or key of that name in that schema, or nil.
---@param schema string?
---@param name string
---@return lunadex.Index?
function Catalog:index(schema, name) end

--- All live indexes and keys whose names end like this, in order of relation and name.
---@param suffix string
---@return lunadex.Index[]
function Catalog:ending(suffix) end

--- The names of the tablespaces there are.
---@return string[]
function Catalog:tablespaces() end

---@class lunadex.Relation         # a view into a catalog, which it keeps alive
---@field schema string?           # nil: the database has none
---@field space string             # within what the names of its indexes are unique: its schema, or its own name
---@field absent boolean           # a collection that its first index will make
---@field collation string?        # MongoDB: what its indexes have unless they say otherwise, as JSON
---@field shard_key string?        # MongoDB: the key it is sharded by, as JSON
---@field options string?        # MongoDB: how the collection is made where it is not there, as JSON; nil: just so
---@field name string
---@field display string           # public.orders
---@field kind "table"|"partitioned table"|"materialized view"|"foreign table"|"collection"|"unreadable collection"|"time series collection"|"view"
---@field rows number              # the server's estimate, -1 if it has none
---@field bytes number
---@field partition boolean
---@field extension_owned boolean
---@field parent lunadex.Relation?
---@field null_check integer?       # PostgreSQL: the number of our check that a primary key's columns hold no null
---@field family lunadex.Relation  # stands for all that inheritance ties together, partitions left out; itself if alone
local Relation = {}
---@return lunadex.Index[]         # its live indexes and keys, by name
function Relation:indexes() end
---@return lunadex.Relation[]      # its direct partitions
function Relation:partitions() end
---@return {name: string, not_null: boolean, never_null: boolean, base: integer}[]   # PostgreSQL: `never_null` if it or
---        its domain says so; `base`, the server's number of its type, below domains
function Relation:columns() end

---@class lunadex.Index            # a live index or key: a view into a catalog
---@field name string
---@field relation lunadex.Relation
---@field kind string
---@field text string              # one line
---@field valid boolean
---@field ready boolean
---@field live boolean
---@field partitioned boolean
---@field inherited boolean
---@field extension_owned boolean
---@field referenced boolean       # a foreign key relies on it, though no constraint owns it; MongoDB: the shard key does
---@field replica_identity boolean
---@field clustered boolean
---@field dependents string?       # of a key: "view public.v, …" that would not let it go
---@field constraint boolean       # belongs to a constraint (or is a foreign key)
---@field bytes number
---@field parent lunadex.Index?    # the partitioned index it is attached to
---@field id integer              # of the index; 0 for a foreign key
---@field constraint_id integer   # of the constraint; 0 for a plain index
local Index = {}
---@return lunadex.Fields
function Index:fields() end
--- Whether it is, by definition, what is declared: whatever its name, its storage options and its tablespace are.
---@param set lunadex.Declarations # resolved
---@param ordinal integer
---@param options {as_index: boolean?, storage: boolean?}?   # the plain unique index that the declared key can be made
---  of; what is declared of storage options and tablespace, too
---@return boolean
function Index:matches(set, ordinal, options) end
--- Whether the two are the same as indexes, whatever constraints they are the index of.
---@param other lunadex.Index
---@return boolean
function Index:equals(other) end

---@class lunadex.Change
---@field action "keep"|"create"|"replace"|"alter"|"rebuild"|"stray"|"error"
---@field ordinal integer?         # of the declaration; nil for a stray
---@field relation lunadex.Relation?
---@field live lunadex.Index?
---@field reason string
---@field name_differs boolean
---@field satisfied_by_key boolean
---@field duplicate boolean
---@field use_existing boolean
---@field error lunadex.Error?

---@class lunadex.Diff
---@field count integer
---@field declared integer
---@field live integer
local Diff = {}
---@param set lunadex.Declarations  # resolved
---@param catalog lunadex.Catalog
---@return lunadex.Diff
function core.diff(set, catalog) end
--- How many changes have this action.
---@param action string
---@return integer
function Diff:total(action) end
--- Changes in order (declarations, then strays); with `quiet_keeps` those plain keeps are left out that nothing can be
--- said about, so that 20,000 matches cost nothing.
---@param quiet_keeps boolean?
---@return fun(): lunadex.Change?
function Diff:changes(quiet_keeps) end

--- Declarations that stand together and are on one relation: the ordinals of the first and the last, and the relation;
--- what is on no relation that is there comes one by one.
---@return fun(): integer?, integer?, lunadex.Relation?
function Diff:runs() end

--- The indexes of a relation that no declaration is about.
---@param relation lunadex.Relation
---@return lunadex.Index[]
function Diff:undeclared(relation) end

--- A class of views: what is behind them cannot be changed. A field is true: a value that is given with the view; or a
--- function that makes its value when it is first asked for. Tables among the values are views as well, with `#` and
--- `pairs`. Other fields raise.
---@param name string              # "a relation", for messages
---@param fields table<string, true|fun(scene: any, values: table): any>
---@param scene any                # handed to those functions
---@param hint fun(field: string, fields: table): string?   # behind a message about an unknown field
---@return fun(values: table): userdata
function core.views(name, fields, scene, hint) end

--- The class of views of indexes and keys: beside `fields` it has those of lunadex.Fields, `position` (its ordinal) and
--- `declared`. Functions are given the ordinal and what is live; those of `key_fields` the number of the column's type, and
--- whether it is not null.
---@param name string
---@param fields table<string, fun(scene: any, ordinal: integer?, live: lunadex.Index?, relation: string): any>
---@param scene any
---@param hint fun(field: string, fields: table): string?
---@param key_fields table<string, fun(scene: any, type: integer?, not_null: boolean?): any>
---@param from lunadex.Diff|lunadex.Declarations   # whose they are
---@return fun(of: integer|lunadex.Index, relation: string): userdata   # of an ordinal; of a live one in the diff's catalog
function core.index_views(name, fields, scene, hint, key_fields, from) end

---@class lunadex.Step             # core/include/lunadex/driver.h, ldx_step
---@field kind "build"|"attach"|"drop"|"rename"|"swap"|"alter"|"validate"|"await"|"drop_constraint"
---@field schema string
---@field relation string
---@field fields lunadex.Fields?   # build, alter: what is to be; drop, drop_constraint, rename: what has the name; swap:
---                                # what has `other`
---@field old_fields lunadex.Fields?  # swap, build with `replace`, alter: what has the name; rename with `replace`: what has
---                                # `other`
---@field name string
---@field other string?
---@field spare string?
---@field other_schema string?
---@field other_relation string?  # attach: the partition; build of a part: what it is a part of
---@field mode "auto"|"concurrent"|"blocking"|nil
---@field id integer?             # of what old_fields, else fields, say that it is there: another one stays, unless it is
---                                # the same by definition. Neither: whatever has the name is meant
---@field only_invalid boolean?    # drop: only while it is of no use. MongoDB, alter: nothing but that it refuses
---                                # duplicates without being unique is taken back
---@field only boolean?
---@field existing boolean?        # MongoDB, build: the collection was there, and is not to be made anew
---@field check_duplicates boolean? # build of something unique: read the table first
---@field list_duplicates boolean?  # build, alter: those that make it fail come as events "rows": group, key, ids
---@field use_existing boolean?
---@field replace boolean?         # build of a key, rename: the constraint that has the name goes with it
---@field partitioned boolean?     # build of a constraint: its relation is, and it is added in no other way than in one go
---@field nullable string[]?       # build of a primary key: its columns that may hold null, for describe;
---                                # drop_constraint of one: those that may again
---@field lock_timeout number?     # seconds
---@field drain_timeout number?
---@field cancel_blockers string[]?    # names of applications: what they run is cancelled when it blocks the step
---@field terminate_blockers string[]? # likewise: their sessions are ended
---@field blockers_after number?    # seconds after which that is done
---@field maintenance_work_mem string?
---@field parallel_workers integer?
---@field commit_quorum string?    # MongoDB
---@field companions lunadex.Fields[]?   # MongoDB, build: with names; built by the same command, if they can all be built
---@field retry lunadex.Retry?

---@class lunadex.Retry
---@field attempts integer?        # 10
---@field first_delay number?      # seconds, 1
---@field factor number?           # 2
---@field max_delay number?        # seconds, 60
---@field total number?            # seconds, 0: no limit

---@class lunadex.Event
---@field event "started"|"progress"|"note"|"notice"|"rows"|"retry"|"done"|"lock_lost"
---@field job integer?             # the job's id
---@field phase string?            # progress
---@field done number?
---@field total number?
---@field unit string?
---@field started boolean?
---@field draining boolean?
---@field blocker string?          # who blocks, in words
---@field blocker_pid integer?    # PostgreSQL: the server's process that it is; none for a prepared transaction
---@field text string?             # note
---@field severity string?         # notice, as all up to hint: "NOTICE", "WARNING" …
---@field message string?
---@field native string?           # the server's own code
---@field detail string?
---@field hint string?
---@field left_out integer?        # notice, and nothing else of it: so many were left out here
---@field rows lunadex.Rows?       # rows
---@field error lunadex.Error?     # retry, lock_lost, done
---@field attempt integer?
---@field attempts integer?        # done
---@field session integer?         # done: on which it ran, counted from 1 as they were opened
---@field built boolean?           # done of a step: it began to build something, and did not just find it there
---@field delay number?
---@field seconds number?          # done
---@field ok boolean?              # done
---@field result any               # done: Catalog, rows, measures …

---@class lunadex.Database         # an engine: worker sessions on one target
local Database = {}
--- Starts the workers; connects with the first job. A target that no driver knows returns nil, err (code "usage").
---@param target string            # URL, key=value, "" for the environment
---@param options {jobs: integer?, application_name: string?, connect_timeout: number?, read_only: boolean?, to_write: boolean?, notices: boolean?, lasting: boolean?}?
---@return lunadex.Database?
---@return lunadex.Error?
function core.open(target, options) end
--- Each of these returns a job's id; its result comes with the "done" event.
---@param retry lunadex.Retry?     # while nobody answers; default: one attempt
---@return integer job             # result: {product, version, version_number, database, user, host, port, display, identity, read_only, standby, warning}
function Database:connect(retry) end
---@return integer job             # result: lunadex.Catalog
function Database:catalog() end
---@param set lunadex.Declarations # must not be touched until done; none of which a diff has been made
---@param catalog lunadex.Catalog
---@return integer job
function Database:resolve(set, catalog) end
---@param items {relation: lunadex.Relation, index: lunadex.Index?, fields: lunadex.Fields?, build: boolean?, drop: boolean?, alter: boolean?}[]
---@return integer job             # result: {rows, table_bytes, index_bytes, entries, scans, scans_since, being_built, builder, at_parts, forbidden}[]
function Database:measure(items) end
---@param step lunadex.Step
---@return integer job
function Database:perform(step) end
--- SQL with parameters; or, on MongoDB, a command as a document. With `batch` its rows come with "rows" events, so many
--- at a time, and each batch is followed by the next one after `more`; the result has none then.
---@param statement string|lunadex.Document
---@param parameters any[]?
---@param batch integer?
---@return integer job             # result: lunadex.Rows
function Database:query(statement, parameters, batch) end
--- Lets a query that has given a batch of rows go on.
---@param job integer
function Database:more(job) end
--- Begins or ends a transaction, of which all queries in between are part: on an engine of one session only.
--- With "next" it is committed, and another is begun. Its event has `committed`, and `results`: the lunadex.Rows of those
--- statements that were done, also after a failure.
---@param what "begin"|"commit"|"rollback"|"next"
---@param last lunadex.Statement[]?    # that are sent together with it, before COMMIT
---@param first lunadex.Statement[]?   # the same behind BEGIN
---@return integer job
function Database:transact(what, last, first) end
--- The history in the database (docs/history.md); what each takes: core/include/lunadex/driver.h, ldx_history.
---@param what "read"|"run"|"change"|"end"
---@param parameters (string|number|boolean|nil)[]?
---@return integer job             # result: rows
function Database:history(what, parameters) end
---@return integer job             # result: rows
function Database:status() end
---@param retry lunadex.Retry?     # while nobody answers; default: one attempt
---@return integer job             # fails with code "lock_held"
function Database:lock(retry) end
---@return integer job
function Database:unlock() end
--- Cancels one job, or all.
---@param job integer?
function Database:cancel(job) end
--- Waits up to `timeout` seconds (nil: for ever) for the next event; nil when none came (or a signal did).
---@param timeout number?
---@return lunadex.Event?
function Database:poll(timeout) end
---@return integer                 # jobs not yet done
function Database:pending() end
--- Cancels what runs and closes. Also `__close` and `__gc`.
function Database:close() end

--- Waits up to `timeout` seconds (nil: for ever) until one of these databases, if any, has an event; a signal also ends
--- the wait, and it may end for nothing.
---@param databases lunadex.Database[]
---@param timeout number?
function core.wait(databases, timeout) end

--- The statements of a step, as `perform` would send them on an untouched database.
---@param step lunadex.Step
---@param target string?           # says which driver; default: PostgreSQL's
---@return string
function core.describe(step, target) end
--- Whether any server of that kind could take a definition, as far as that is known without one.
---@param driver string
---@param fields lunadex.Fields
---@return true?
---@return lunadex.Error? err      # code "invalid_definition" or "unsupported"
function core.check(driver, fields) end
--- The value of an option as short as it says the same: of a collation what its locale has otherwise.
---@param driver string
---@param name string
---@param value string
---@return string
function core.short_option(driver, name, value) end

--- The word null, in documents and lists.
---@type any
core.null = nil
--- A value that Lua has no type for (lunadex.bson).
---@param type string              # "binary", "text", "date", "long", "decimal", "object_id", "timestamp", "regex" …
---@param value string|integer|nil
---@param more string|integer|nil  # the subtype of binary, the options of regex
---@return lunadex.Value
function core.value(type, value, more) end
--- A document with its fields in this order.
---@param ... any                  # name, value, name, value …
---@return lunadex.Document
function core.document(...) end
--- Makes a table a list, also where it is empty.
---@param items table
---@return table items
function core.list(items) end

--- Signals: after `core.catch_signals()` SIGINT, SIGTERM and SIGHUP only set a flag that `core.signal()` reads
--- (and ends a running poll); the second one kills the process.
function core.catch_signals() end
---@return integer?                -- 2, 15, 1 or nil
function core.signal() end
--- As if no signal had come: the next one is a first one again.
function core.forget_signal() end
--- From now on the running coroutine, and those it makes, call a function every now and then while they compute; not
--- while they are in the library, unless `anywhere`. What it raises is raised there. One function for all.
---@param run function
---@param anywhere boolean?
---@param always boolean?          # with each instruction
function core.call_while_computing(run, anywhere, always) end

--- Monotonic seconds.
---@return number
function core.now() end

--- How long to wait before the next attempt, with jitter: anything up to a delay that grows. Nothing where the policy
--- leaves no other one.
---@param attempt integer         # which has failed, from 1
---@param elapsed number          # seconds since the first one began
---@param random number           # in [0, 1)
---@param retry lunadex.Retry?
---@return number? seconds
function core.retry_delay(attempt, elapsed, random, retry) end
--- Whether a standard stream is a terminal, and its columns.
---@param fd integer
---@return integer? columns        # nil: not a terminal
function core.terminal(fd) end
--- Whether 4096 bytes more can be written to it without waiting for who reads, or a write would fail at once.
---@param fd integer
---@return boolean
function core.writable(fd) end

---@class lunadex.Editor           # of lines, on the terminal at standard input and output
local Editor = {}
--- `complete` gets what stands before the cursor, and gives what is to be inserted there, what is to be shown, and how many
--- characters before the cursor give way to what is inserted; it must not yield. Raises where there is no terminal.
---@param complete fun(text: string): string?, string?, integer?
---@return lunadex.Editor
function core.editor(complete) end
--- One line of what is typed or pasted.
---@param prompt string
---@return string? line
---@return "end"|"interrupted"|nil why    # Ctrl-D on an empty line; a signal
function Editor:read(prompt) end
--- Adds an entry, of one or more lines, to the history.
---@param text string
function Editor:remember(text) end
--- Also `__close` and `__gc`.
function Editor:close() end

return core
