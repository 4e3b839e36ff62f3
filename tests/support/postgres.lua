-- Private PostgreSQL servers: real ones, in a scratch directory, gone when the run is over (support.shell's guard).
local shell = require "support.shell"

local M = {}

local quote = shell.quote

-- 15 is the system's. The others are the server builds that the Maven artifact of this name packs; they come for
-- `./dev test --matrix` only, which says LUNADEX_TEST_POSTGRES, through the mvn client, into .deps/.
local artifact = "io.zonky.test.postgres:embedded-postgres-binaries-linux-%s"
local maven_versions = { [13] = "13.18.0", [14] = "14.15.0", [16] = "16.6.0", [17] = "17.5.0", [18] = "18.1.0" }
local system_version = 15
local default_version = math.tointeger(tonumber(os.getenv "LUNADEX_TEST_POSTGRES" or system_version))

--- The version that specs get where they ask for none.
M.version = default_version

--- PostgreSQL refuses to run as root.
local function prefix()
  if not shell.is_root() then return "" end
  local user = shell.run("id postgres") and "postgres" or "nobody"
  return ("setpriv --reuid=%s --regid=$(id -g %s) --clear-groups "):format(user, user), user
end

local function fetch(version)
  local directory = ("%s/.deps/postgres-%d"):format(shell.check("pwd"):gsub("\n$", ""), version)
  if shell.run("test -x " .. quote(directory .. "/bin/postgres")) then return directory .. "/bin" end
  if not shell.run("command -v mvn") then return nil, "mvn is not installed" end
  local architecture = shell.check("uname -m"):find "aarch64" and "arm64v8" or "amd64"
  local name = artifact:format(architecture)
  -- Unpacked aside and moved: two runs at once, or one that was killed, leave nothing half done.
  local ok, output = shell.run(([[
    set -e
    mkdir -p .deps
    tmp=$(mktemp -d .deps/fetch.XXXXXX)
    trap 'rm -rf "$tmp"' EXIT
    mvn -q -B dependency:copy -Dartifact=%s:%s -DoutputDirectory="$PWD/$tmp/jar"
    mkdir "$tmp/server"
    (cd "$tmp" && if command -v unzip >/dev/null; then unzip -q jar/*.jar; else jar xf jar/*.jar; fi)
    tar -xJf "$tmp"/postgres-*.txz -C "$tmp/server"
    chmod -R a+rX "$tmp/server"
    mv -T "$tmp/server" %s
  ]]):format(name, maven_versions[version], quote(directory)))
  if not ok then return nil, "cannot fetch PostgreSQL " .. version .. ":\n" .. output end
  return directory .. "/bin"
end

--- The directory of a version's programs, or nil and why not.
---@param version integer
---@return string?
---@return string? reason
local function programs(version)
  if version == system_version or not maven_versions[version] then
    local path = ("/usr/lib/postgresql/%d/bin"):format(version)
    if shell.run("test -x " .. path .. "/postgres") then return path end
    return nil, ("PostgreSQL %d is not installed"):format(version)
  end
  return fetch(version)
end

--- The versions this run is for. `./dev test --matrix` runs once for each.
---@return integer[]
function M.versions()
  return { default_version }
end

--- Why there is no such server, or nil. A spec then says `pending(reason)`; in CI an absent server is a failure.
---@param version integer?
---@return string? reason
function M.missing(version)
  local path, reason = programs(version or default_version)
  if path then return nil end
  if os.getenv "CI" == "true" then error(reason, 2) end
  return reason
end

---@class support.Server
---@field version integer
---@field port integer
---@field host string
---@field socket string     directory of the Unix socket
---@field user string       the superuser: "postgres"
---@field password string   "secret" where auth asks for one
---@field data string       the data directory
---@field log string        path of the server's log
local Server = {}
Server.__index = Server

local function as_server_user(command)
  return shell.check(prefix() .. command)
end

-- Speed before safety: what a power cut would do to these servers is nobody's concern.
local default_settings = {
  fsync = "off",
  full_page_writes = "off",
  max_wal_size = "4GB",
  max_connections = "200",
  log_line_prefix = "%m [%p] %a ",
  -- Sessions that die without a word must not hold locks until a test gives up.
  tcp_keepalives_idle = "10",
}

local function configuration(server, settings)
  local lines = {
    "listen_addresses = '127.0.0.1'",
    ("port = %d"):format(server.port),
    ("unix_socket_directories = '%s'"):format(server.socket),
  }
  local function add(map)
    for name, value in pairs(map) do
      lines[#lines + 1] = ("%s = '%s'"):format(name, (tostring(value):gsub("'", "''")))
    end
  end
  add(default_settings)
  add(settings or {})
  return table.concat(lines, "\n") .. "\n"
end

function Server:launch()
  local ok, output = shell.run(prefix() .. ("%s/pg_ctl start -w -t 60 -s -D %s -l %s </dev/null"):format(
    quote(self.programs), quote(self.data), quote(self.log)))
  if not ok then
    error(("PostgreSQL %d did not start: %s\n%s"):format(self.version, output, shell.read_file(self.log) or ""), 2)
  end
  local pid = shell.read_file(self.data .. "/postmaster.pid"):match("^%d+")
  shell.write_file(self.directory .. "/guarded.pid", pid)
  self.pid = math.tointeger(tonumber(pid))
end

local function new(version)
  local path, reason = programs(version)
  if not path then error(reason, 3) end
  local directory = shell.directory("postgres")
  local _, user = prefix()
  if user then shell.check(("chown %s %s"):format(user, quote(directory))) end
  return setmetatable({
    version = version,
    programs = path,
    directory = directory,
    data = directory .. "/data",
    log = directory .. "/log",
    socket = directory,
    host = "127.0.0.1",
    port = shell.free_port(),
    user = "postgres",
    password = "secret",
    databases = 0,
  }, Server)
end

--- Starts a server of its own; a spec that changes nothing server-wide takes `M.shared()` instead.
---@param options {version: integer?, settings: table<string, any>?, auth: "trust"|"scram-sha-256"?, locale: string?}?
---@return support.Server
function M.start(options)
  options = options or {}
  local server = new(options.version or default_version)
  server.auth = options.auth or "trust"
  server.settings = options.settings
  shell.write_file(server.directory .. "/password", server.password .. "\n")
  shell.check("chmod a+r " .. quote(server.directory .. "/password"))
  as_server_user(("%s/initdb -D %s -U postgres --auth=%s --pwfile=%s --encoding=UTF8 --locale=%s --no-sync"):format(
    quote(server.programs), quote(server.data), server.auth, quote(server.directory .. "/password"),
    options.locale or "C.UTF-8"))
  local file = assert(io.open(server.data .. "/postgresql.conf", "a"))
  file:write(configuration(server, options.settings))
  file:close()
  server:launch()
  return server
end

local shared = {}

--- The one server of this version that specs share, started when first asked for. Take a database of your own on it:
--- `local db = pg.shared():create_database()`.
---@param version integer?
---@return support.Server
function M.shared(version)
  version = version or default_version
  shared[version] = shared[version] or M.start { version = version }
  return shared[version]
end

--- postgresql://postgres@127.0.0.1:PORT/DATABASE; `user` and `password` replace the defaults.
---@param database string?
---@param user string?
---@param password string?
---@return string
function Server:url(database, user, password)
  if not password and self.auth ~= "trust" then password = self.password end
  return ("postgresql://%s%s@%s:%d/%s"):format(user or self.user, password and ":" .. password or "", self.host,
    self.port, database or "postgres")
end

--- The variables that lead libpq here.
---@param database string?
---@return table<string, string>
function Server:environment(database)
  return {
    PGHOST = self.host, PGPORT = tostring(self.port), PGUSER = self.user, PGDATABASE = database or "postgres",
    PGPASSWORD = self.auth ~= "trust" and self.password or nil,
  }
end

local null = "\\N"

-- psql's --csv: quotes are doubled, a record may span lines. An unquoted \N is null.
local function parse_csv(text)
  local rows, row, at = {}, {}, 1
  while at <= #text do
    local value
    if text:sub(at, at) == '"' then
      local finish = at + 1
      while true do
        finish = assert(text:find('"', finish, true), "unfinished CSV")
        if text:sub(finish + 1, finish + 1) ~= '"' then break end
        finish = finish + 2
      end
      value = text:sub(at + 1, finish - 1):gsub('""', '"')
      at = finish + 1
    else
      value = text:match("^[^,\n]*", at)
      at = at + #value
      if value == null then value = nil end
    end
    row.n = (row.n or 0) + 1
    row[row.n] = value
    if text:sub(at, at) ~= "," then rows[#rows + 1], row = row, {} end
    at = at + 1
  end
  return rows
end

function Server:client(database, extra)
  local words = {
    "psql", "-X", "-q", "-t", "--csv", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-P", "null=" .. null,
    "-d", self:url(database),
  }
  table.move(extra or {}, 1, #(extra or {}), #words + 1, words)
  return words
end

--- Runs SQL (several statements are several transactions) and gives the rows of all of them, each an array of texts
--- with `n` columns, nil for null; or nil and what psql said.
---@param database string?
---@param sql string
---@return string[][]?
---@return string? message
function Server:try(database, sql)
  local result = shell.call(self:client(database), { stdin = sql, env = { PGOPTIONS = false }, seconds = 600 })
  if result.status ~= 0 then return nil, result.stderr end
  return parse_csv(result.stdout)
end

--- The same, where a failure is an error.
---@param database string?
---@param sql string
---@return string[][]
function Server:psql(database, sql)
  local rows, message = self:try(database, sql)
  if not rows then error(message, 2) end
  return rows
end

--- The first column of the first row.
---@param database string?
---@param sql string
---@return string?
function Server:value(database, sql)
  local rows = self:psql(database, sql)
  return rows[1] and rows[1][1]
end

--- Runs a file, `\`-commands included.
---@param database string?
---@param path string
function Server:psql_file(database, path)
  local result = shell.call(self:client(database, { "-f", path }), { seconds = 600 })
  if result.status ~= 0 then error(result.stderr, 2) end
end

--- A new database; without a name, one of its own.
---@param name string?
---@param options string? "TEMPLATE x ENCODING …"
---@return string name
function Server:create_database(name, options)
  if not name then
    self.databases = self.databases + 1
    name = "test_" .. self.databases
  end
  self:psql("postgres", ('CREATE DATABASE "%s" %s'):format((name:gsub('"', '""')), options or ""))
  return name
end

---@param name string
function Server:drop_database(name)
  self:psql("postgres", ('DROP DATABASE IF EXISTS "%s" WITH (FORCE)'):format((name:gsub('"', '""'))))
end

--- Every index of the user's schemas by name, as `schema.name` → its definition: what a round trip must give back.
---@param database string
---@return table<string, string>
function Server:indexes(database)
  local map = {}
  for _, row in ipairs(self:psql(database, [[
    SELECT format('%I.%I', n.nspname, c.relname), pg_get_indexdef(c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('i', 'I') AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema')]])) do
    map[row[1]] = row[2]
  end
  return map
end

---@param mode "smart"|"fast"|"immediate"|nil default fast
function Server:stop(mode)
  if self.pooler then
    shell.run("kill " .. self.pooler)
    self.pooler = nil
  end
  shell.run(prefix() .. ("%s/pg_ctl stop -w -s -m %s -D %s"):format(quote(self.programs), mode or "fast",
    quote(self.data)))
  os.remove(self.directory .. "/guarded.pid")
end

---@param mode "smart"|"fast"|"immediate"|nil
function Server:restart(mode)
  self:stop(mode)
  self:launch()
end

--- A streaming replica, caught up when this returns.
---@return support.Server
function Server:standby()
  local replica = new(self.version)
  replica.auth, replica.password = self.auth, self.password
  -- By hand, since the servers from Maven come without pg_basebackup. Files may go while they are copied, which is
  -- what the label is for: from it the replica knows what to replay.
  local old = self.version < 15
  local backup = self:session("postgres", "base backup")
  backup:run(old and "SELECT pg_start_backup('test', true, false)" or "SELECT pg_backup_start('test', true)")
  as_server_user(("cp -a %s %s 2>/dev/null || true"):format(quote(self.data), quote(replica.data)))
  local label = replica.directory .. "/label"
  shell.write_file(label, backup:run(old and "SELECT labelfile FROM pg_stop_backup(false, false)"
    or "SELECT labelfile FROM pg_backup_stop(false)")[1][1])
  backup:close()
  as_server_user(("sh -c 'cd \"$1\" && rm -f postmaster.pid && cp ../label backup_label && touch standby.signal' - %s")
    :format(quote(replica.data)))
  local file = assert(io.open(replica.data .. "/postgresql.conf", "a"))
  file:write(configuration(replica, self.settings), ("primary_conninfo = '%s'\n"):format(self:url()))
  file:close()
  replica:launch()
  local position = self:value("postgres", "SELECT pg_current_wal_lsn()")
  shell.eventually("the standby to catch up", function()
    return replica:value("postgres", ("SELECT coalesce(pg_last_wal_replay_lsn(), '0/0') >= '%s'"):format(position))
      == "t"
  end)
  return replica
end

--- A PgBouncer in transaction mode before this server; returns the URL of `database` through it.
---@param database string?
---@return string url
function Server:pgbouncer(database)
  local directory = shell.directory("pgbouncer")
  local port = shell.free_port()
  shell.write_file(directory .. "/pgbouncer.ini", ([[
[databases]
* = host=%s port=%d user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
pidfile = %s/guarded.pid
logfile = %s/log
ignore_startup_parameters = extra_float_digits,options
]]):format(self.host, self.port, self.user, self.password, port, directory, directory))
  local _, user = prefix()
  if user then shell.check(("chown -R %s %s"):format(user, quote(directory))) end
  shell.check(prefix() .. ("$(PATH=$PATH:/usr/sbin command -v pgbouncer) -q -d %s/pgbouncer.ini </dev/null")
    :format(quote(directory)))
  self.pooler = shell.eventually("pgbouncer's pid file", function()
    return (shell.read_file(directory .. "/guarded.pid") or ""):match("%d+")
  end)
  local url = ("postgresql://%s@127.0.0.1:%d/%s"):format(self.user, port, database or "postgres")
  shell.eventually("pgbouncer to answer", function()
    return (shell.run(("psql -X -c 'SELECT 1' -d %s"):format(quote(url))))
  end)
  return url
end

---@class support.Session   a session that stays open: to hold locks, old snapshots, transactions
---@field pid integer       of the server process
local Session = {}
Session.__index = Session

---@param database string?
---@param name string?      application_name
---@param user string?      default the superuser
---@return support.Session
function Server:session(database, name, user)
  local directory = shell.directory("session")
  local output = directory .. "/output"
  shell.write_file(output, "")
  local words = self:client(database, { "-d", self:url(database, user) })
  local pipe = assert(io.popen(("PGAPPNAME=%s %s >%s 2>&1"):format(quote(name or "test session"),
    shell.command(words), quote(output)), "w"))
  pipe:setvbuf("no")
  local session = setmetatable({ pipe = pipe, output = output, count = 0, seen = 0 }, Session)
  session.pid = math.tointeger(tonumber(session:run("SELECT pg_backend_pid()")[1][1]))
  return session
end

--- Sends a statement without waiting for it: it may block.
---@param sql string
function Session:send(sql)
  self.count = self.count + 1
  self.pipe:write(sql, "\n;\n", "\\echo ==", self.count, "==\n")
end

--- Waits until all that was sent is done; gives the rows since the last time.
---@param seconds number? default 60
---@return string[][]
function Session:wait(seconds)
  local mark = ("==%d==\n"):format(self.count)
  local text = shell.eventually("the session's statement", function()
    local all = shell.read_file(self.output):sub(self.seen + 1)
    if all:find("ERROR:", 1, true) or all:find("FATAL:", 1, true) then error(all, 0) end
    return all:find(mark, 1, true) and all
  end, seconds)
  self.seen = self.seen + #text
  return parse_csv((text:gsub("==%d+==\n", "")))
end

---@param sql string
---@return string[][]
function Session:run(sql)
  self:send(sql)
  return self:wait()
end

--- Ends the session; an open transaction is rolled back by the server.
function Session:close()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

return M
