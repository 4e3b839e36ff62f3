-- Registries that are wrong in ways the live database can tell: the plan says so, and apply builds nothing at all.
local lunadex = require "support.lunadex"
local pg = require "support.postgres"
local shell = require "support.shell"

describe("a registry that the database contradicts", function()
  local reason = pg.missing()
  if reason then return pending(reason) end
  local server, database, url

  setup(function() server = pg.shared() end)
  before_each(function()
    database = server:create_database()
    url = server:url(database)
    server:psql(database, [[
      CREATE TABLE people (id int PRIMARY KEY, email text, code varchar(8), big bigint, tenant int, n int);
      CREATE TABLE visits (id bigint, person int, note text, amount numeric, whole bigint, small smallint,
        tenant int, n int, at timestamptz);
      CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b));
      CREATE TABLE bare (id int, x text);
      CREATE TABLE events (id int, at date) PARTITION BY RANGE (at);
      CREATE TABLE events_2023 PARTITION OF events FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
      CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')]])
  end)
  after_each(function() server:drop_database(database) end)

  -- Each of `expected` stands in the one finding; nothing is built, not even what is right.
  local function wrong(declarations, expected, ...)
    local path = lunadex.registry('on "public.visits" { index { "at", name = "visits_at" } }\n' .. declarations)
    local result = lunadex.run { "plan", "--json", path, "--target", url }
    assert.equal(65, result.status, tostring(result))
    local findings = {}
    for _, finding in ipairs(result:json().findings) do
      if finding.level == "error" then findings[#findings + 1] = finding end
    end
    assert.equal(1, #findings, tostring(result))
    local finding = findings[1]
    local text = finding.message .. " (" .. (finding.hint or "") .. ")"
    for _, part in ipairs { expected, ... } do assert.matches(part, text, 1, true) end
    assert.equal(path, finding.file)
    assert.equal(2, finding.line)
    local before = server:indexes(database)
    result = lunadex.run { "apply", path, "--target", url }
    assert.equal(65, result.status, tostring(result))
    assert.matches(path .. ":2: ", result.stderr, 1, true)
    assert.same(before, server:indexes(database))
    return finding
  end

  local function right(declarations)
    local path = lunadex.registry(declarations)
    local result = lunadex.run { "apply", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
    result = lunadex.run { "plan", "--detailed-exitcode", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
  end

  describe("as to foreign keys:", function()
    it("another number of columns than the key has", function()
      wrong('on "visits" { foreign_key { "person", references = "pairs" } }',
        "1 column (person) cannot reference 2: the key of public.pairs is (a, b)", "Name a column for each of them")
      wrong('on "visits" { foreign_key { "person", "n", references = "people" } }',
        "2 columns (person, n) cannot reference 1: the key of public.people is (id)")
    end)

    it("no primary key where no column is named", function()
      wrong('on "visits" { foreign_key { "person", references = "bare" } }',
        "public.bare has no primary key to be referenced", 'references = { "public.bare", "column" }')
    end)

    it("columns without a key", function()
      wrong('on "visits" { foreign_key { "note", references = { "people", "email" } } }',
        "public.people (email) cannot be referenced: it has no primary key, unique constraint or unique index",
        'Declare unique_constraint { "email" } on public.people', 'references = { "public.people", "id" }')
      wrong('on "visits" { foreign_key { "person", references = { "pairs", "a" } } }',
        "public.pairs (a) cannot be referenced")
    end)

    it("keys that cannot be referenced", function()
      for _, statement in ipairs {
        "CREATE UNIQUE INDEX people_key ON people (email) WHERE email <> ''",
        "CREATE UNIQUE INDEX people_key ON people ((email || ''))",
        "CREATE INDEX people_key ON people (email)",
      } do
        server:psql(database, statement)
        wrong('on "visits" { foreign_key { "note", references = { "people", "email" } } }',
          "public.people (email) cannot be referenced")
        server:psql(database, "DROP INDEX people_key")
      end
      server:psql(database, "ALTER TABLE people ADD CONSTRAINT people_key UNIQUE (email) DEFERRABLE")
      wrong('on "visits" { foreign_key { "note", references = { "people", "email" } } }',
        "public.people (email) cannot be referenced", "people_key is deferrable")
    end)

    it("types that cannot be compared", function()
      wrong('on "visits" { foreign_key { "note", references = "people" } }',
        "note is text and cannot reference id of public.people, which is integer", "the same type")
      -- There is an operator for these two, but none that a foreign key could use.
      wrong('on "visits" { foreign_key { "amount", references = "people" } }',
        "amount is numeric and cannot reference id of public.people, which is integer")
      wrong('on "visits" { foreign_key { "person", "note", references = "pairs" } }',
        "note is text and cannot reference b of public.pairs, which is integer")
    end)

    it("no table", function()
      server:psql(database, "CREATE MATERIALIZED VIEW seen AS SELECT 1 AS id; CREATE UNIQUE INDEX ON seen (id)")
      wrong('on "visits" { foreign_key { "person", references = { "seen", "id" } } }',
        "public.seen is a materialized view: a foreign key can only reference a table")
    end)

    it("but not those that are possible", function()
      server:psql(database, [[CREATE UNIQUE INDEX people_big ON people (big); CREATE DOMAIN whole AS int;
        ALTER TABLE visits ADD domain whole; CREATE UNIQUE INDEX people_code ON people (code)]])
      right [[ on "visits" {
        foreign_key { "whole", references = "people" },
        foreign_key { "small", references = "people" },
        foreign_key { "domain", references = "people" },
        foreign_key { "person", references = { "people", "big" } },
        foreign_key { "note", references = { "people", "code" } },
        foreign_key { "n", "tenant", references = { "pairs", "b", "a" } },
        foreign_key { "tenant", "n", references = { "people", "tenant", "n" } },
        foreign_key { "note", references = { "people", "email" }, on_delete = "cascade" },
        foreign_key { "person", references = "bare" } }
      on "people" {
        unique_constraint { "n", "tenant", include = { "code" } },
        index { "email", unique = true } }
      on "bare" { primary_key { "id" } } ]]
    end)
  end)

  describe("as to primary keys:", function()
    it("another one is live", function()
      wrong('on "people" { primary_key { "email" } }',
        "public.people has a primary key already, people_pkey: PRIMARY KEY (id); a relation has only one",
        'Declare the live one, primary_key { "id" }', 'name the new one "people_pkey"')
    end)

    it("two are declared", function()
      wrong('on "bare" { primary_key { "id", name = "one" }, primary_key { "id", "x", name = "two" } }',
        "public.bare has another primary key declared, one: PRIMARY KEY (id)", "take one of the two away")
      -- The one that is not there is wrong.
      local finding = wrong('on "people" { primary_key { "id", "n", name = "two" }, primary_key { "id" } }',
        "public.people has another primary key declared, PRIMARY KEY (id)")
      assert.equal("two", finding.name)
    end)

    it("that of a partitioned table is a partition's, too", function()
      server:psql(database, "ALTER TABLE events ADD PRIMARY KEY (id, at)")
      wrong('on "events_2024" { primary_key { "id" } }', "events_2024_pkey: PRIMARY KEY (id, at)",
        "It comes with that of public.events")
    end)

    it("but one of the live one's name replaces it", function()
      right 'on "people" { primary_key { "n", "id", name = "people_pkey" } }'
    end)
  end)

  it("replaces what foreign keys rely on", function()
    server:psql(database, [[CREATE UNIQUE INDEX people_email ON people (email);
      ALTER TABLE visits ADD CONSTRAINT by_id FOREIGN KEY (person) REFERENCES people,
        ADD CONSTRAINT by_email FOREIGN KEY (note) REFERENCES people (email)]])
    wrong('on "people" { primary_key { "id", "n", name = "people_pkey" } }',
      "people_pkey, PRIMARY KEY (id), cannot be replaced: foreign keys rely on it: by_id of public.visits",
      "declare the live one as it is")
    wrong('on "people" { index { "n", name = "people_email" } }',
      "people_email, UNIQUE btree (email), cannot be replaced: foreign keys rely on it: by_email of public.visits")
    local path = lunadex.registry 'on "people" {}'
    for _, command in ipairs { "plan", "apply" } do
      local result = lunadex.run { command, path, "--target", url, "--drop-strays" }
      assert.equal(0, result.status, tostring(result))
      if command == "plan" then assert.matches("kept: a foreign key relies on it", result.stdout, 1, true) end
    end
  end)

  describe("as to tablespaces:", function()
    it("there is none of that name", function()
      server:psql(database, "SET allow_in_place_tablespaces = on; CREATE TABLESPACE wrong_spec LOCATION ''")
      finally(function() server:psql("postgres", "DROP TABLESPACE wrong_spec") end)
      wrong('on "people" { index { "n", tablespace = "wrong_spce" } }',
        'tablespace "wrong_spce" does not exist', 'Did you mean "wrong_spec"?')
      wrong('on "people" { unique_constraint { "n", tablespace = "elsewhere" } }',
        'tablespace "elsewhere" does not exist', "Create it first, or use one there is", "pg_default")
      wrong('on "events" { index { "id", partitions = { events_2023 = { tablespace = "wrong_spce" } } } }',
        'tablespace "wrong_spce" for the partition events_2023 does not exist', 'Did you mean "wrong_spec"?')
      -- That an index of this definition is there makes no difference.
      server:psql(database, "CREATE INDEX people_n ON people (n)")
      wrong('on "people" { index { "n", tablespace = "wrong_spce" } }', 'tablespace "wrong_spce" does not exist')
    end)
  end)

  describe("as to partitions:", function()
    it("one is not the relation's", function()
      wrong('on "events" { index { "at", partitions = { ["public.events_2025"] = "e" } } }',
        "public.events_2025 is no partition of public.events", 'Did you mean "public.events_2023"?')
      wrong('on "events" { index { "at", partitions = { visits = "e", events_2023 = "f" } } }',
        "visits is no partition of public.events", "Its partitions are public.events_2023, public.events_2024.")
    end)

    it("the relation has none", function()
      wrong('on "people" { index { "n", partitions = { people_1 = "e" } } }',
        "partitions is given, but public.people is not partitioned")
      server:psql(database, "CREATE TABLE empty (a int) PARTITION BY LIST (a)")
      wrong('on "empty" { index { "a", partitions = { empty_1 = "e" } } }',
        "empty_1 is no partition of public.empty", "It has no partition yet.")
    end)
  end)

  describe("as to names:", function()
    it("access methods", function()
      wrong('on "people" { index { "n", method = "hahs" } }', 'access method "hahs" does not exist',
        'Did you mean "hash"?')
      wrong('on "people" { index { "n", method = "lsm" } }', 'access method "lsm" does not exist',
        "There are", "btree")
    end)

    it("operator classes", function()
      wrong('on "people" { index { key { "email", opclass = "text_patern_ops" } } }',
        'operator class "text_patern_ops" does not exist', 'Did you mean "text_pattern_ops"?')
      wrong('on "people" { index { key { "email", opclass = "quite_other" }, method = "gin" } }',
        'operator class "quite_other" does not exist', "Create the extension that brings it", "\\dAc gin")
      server:psql(database, "CREATE SCHEMA ext; CREATE EXTENSION pg_trgm SCHEMA ext")
      wrong('on "people" { index { key { "email", opclass = "gin_trgm_ops" }, method = "gin" } }',
        'operator class "gin_trgm_ops" does not exist', 'Did you mean "ext.gin_trgm_ops"?')
    end)

    it("collations", function()
      wrong('on "people" { index { key { "email", collate = "POSIXX" } } }', 'collation "POSIXX"',
        'Did you mean "POSIX"?')
      wrong('on "people" { index { key { "email", collate = "klingon_at_all" } } }', "pg_collation lists those")
    end)

    it("storage parameters, also of keys, and where they are all that differs from the live index", function()
      server:psql(database, "CREATE INDEX people_n ON people (n)")
      wrong('on "people" { index { "email", with = { fillfaktor = 70 } } }', 'Did you mean "fillfactor"?')
      wrong('on "people" { unique_constraint { "email", with = { fillfaktor = 70 } } }', 'Did you mean "fillfactor"?')
      wrong('on "people" { index { "n", with = { fillfaktor = 70 } } }', 'Did you mean "fillfactor"?')
      wrong('on "people" { index { "n", method = "brin", with = { fillfactor = 70 } } }',
        "The storage parameters of brin are pages_per_range, autosummarize.")
      wrong('on "people" { index { "n", with = { fillfactor = 700 } } }', '700', "fillfactor")
    end)

    it("parameters of operator classes", function()
      server:psql(database, "CREATE EXTENSION pg_trgm")
      wrong('on "people" { index { key { "email", opclass = { "gist_trgm_ops", sigln = 32 } }, method = "gist" } }',
        'Did you mean "siglen"?')
    end)

    it("what --only names", function()
      server:psql(database, "CREATE INDEX people_live ON people (n)")
      local path = lunadex.registry 'on "people" { index { "email", name = "people_email" } }'
      local function narrowed(...)
        local words = { "plan", path, "--target", url }
        for _, name in ipairs { ... } do words[#words + 1] = "--only=" .. name end
        return lunadex.run(words)
      end
      local function only(...)
        local result = narrowed(...)
        assert.equal(64, result.status, tostring(result))
        return result.stderr
      end
      assert.matches('Did you mean "people_email"?', only "people_emial", 1, true)
      assert.matches('Did you mean "people_live"?', only "people_life", 1, true)
      assert.matches('Did you mean "people"?', only "poeple", 1, true)
      assert.matches('Did you mean "public.people"?', only "publik.people", 1, true)
      assert.matches("Give the name of a declared index", only "zzz", 1, true)
      -- Of several each has to be right.
      assert.matches('--only people_emial matches nothing\nDid you mean "people_email"?',
        only("people_live", "people_emial", "people"), 1, true)
      -- An index that is named with its relation was meant, too.
      assert.equal(0, narrowed("people_email", "people").status)
      path = lunadex.registry 'on "people" { index { "email" } }'
      assert.equal(0, narrowed("people_email_idx").status) -- which nobody gave
    end)
  end)

  it("keys of types that cannot be ordered", function()
    server:psql(database, "CREATE TABLE documents (body json)")
    wrong('on "documents" { unique_constraint { "body" } }', "json has no default operator class")
  end)

  it("and asks the server nothing where all is live as declared", function()
    server:psql(database, [[CREATE INDEX people_n ON people (n) WITH (fillfactor = 70);
      ALTER TABLE visits ADD FOREIGN KEY (id) REFERENCES people;
      ALTER DATABASE "]] .. database .. [[" SET log_statement = 'all']])
    local path = lunadex.registry [[ on "people" { primary_key { "id" }, index { "n", with = { fillfactor = 70 } } }
      on "visits" { foreign_key { "id", references = "people" } } ]]
    local function temporary_tables()
      local count = 0
      for _ in shell.read_file(server.log):lower():gmatch "create temporary table" do count = count + 1 end
      return count
    end
    local before = temporary_tables()
    local result = lunadex.run { "plan", "--detailed-exitcode", path, "--target", url }
    assert.equal(0, result.status, tostring(result))
    assert.equal(before, temporary_tables())
    -- What a difference would make.
    server:psql(database, "DROP INDEX people_n")
    lunadex.run { "plan", path, "--target", url }
    assert.equal(before + 1, temporary_tables())
  end)

  it("has no index that a virtual generated column has a part in", function()
    if server.version < 18 then return end
    server:psql(database, "ALTER TABLE bare ADD v int GENERATED ALWAYS AS (id * 2) VIRTUAL")
    for _, words in ipairs { '"v"', '"id", where = "v > 5"', 'expr "v + 1"' } do
      wrong(('on "bare" { index { %s } }'):format(words), "virtual generated columns are not supported")
    end
  end)

  it("tells which kind of read-only keeps it from comparing", function()
    local path = lunadex.registry 'on "people" { index { "email", where = "n > 0" } }'
    server:psql(database, [[CREATE ROLE wrong_reader LOGIN;
      ALTER ROLE wrong_reader SET default_transaction_read_only = on]])
    finally(function() server:psql("postgres", "DROP ROLE wrong_reader") end)
    local result = lunadex.run { "plan", path, "--target", server:url(database, "wrong_reader") }
    assert.matches("default_transaction_read_only is on", result.stderr, 1, true)
    assert.matches("connect as another role", result.stderr, 1, true)
    assert.is_nil(result.stderr:find("primary", 1, true))
  end)
end)
