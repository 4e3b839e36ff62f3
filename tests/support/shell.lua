-- Processes for tests, with nothing but a shell, /proc and busted's own lua-system.
--
-- Everything is started through io.popen: the C library closes the pipes of earlier popens in each new child, so that
-- no daemon keeps the guard's pipe open (see `M.scratch`).
local system = require "system"

local M = {}

M.sleep = system.sleep
M.now = system.monotime

---@param text any
---@return string quoted for a POSIX shell
function M.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

--- A list of words as one command.
---@param words any[]
---@return string
function M.command(words)
  local quoted = {}
  for i, word in ipairs(words) do quoted[i] = M.quote(word) end
  return table.concat(quoted, " ")
end

---@param path string
---@return string? content
function M.read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read("a")
  file:close()
  return content
end

---@param path string
---@param content string
function M.write_file(path, content)
  local file = assert(io.open(path, "wb"))
  assert(file:write(content))
  assert(file:close())
end

--- Runs a shell command to its end.
---@param command string
---@return boolean ok
---@return string output  both streams
---@return integer status
function M.run(command)
  local pipe = assert(io.popen("exec 2>&1; " .. command, "r"))
  local output = pipe:read("a")
  local ok, _, status = pipe:close()
  return ok == true, output, status
end

--- Like `run`, but a failure is an error with the output.
---@param command string
---@return string output
function M.check(command)
  local ok, output, status = M.run(command)
  if not ok then error(("exit %s from: %s\n%s"):format(status, command, output), 2) end
  return output
end

--- Calls `probe` until it returns a true value, which is returned; an error after `seconds` (60), with `what`.
---@generic T
---@param what string
---@param probe fun(): T
---@param seconds number?
---@return T
function M.eventually(what, probe, seconds)
  local deadline = M.now() + (seconds or 60)
  while true do
    local value = probe()
    if value then return value end
    if M.now() > deadline then error("waited in vain: " .. what, 2) end
    M.sleep(0.02)
  end
end

---@return boolean
function M.is_root()
  return M.check("id -u") == "0\n"
end

local scratch, guard

--- The scratch directory of this run. A guard process removes it, and stops every process whose id stands in a
--- `*/guarded.pid` below it, as soon as this process ends, however it ends: the guard waits for the end of a pipe
--- that only we hold. At a normal exit the pipe is closed by Lua, which then waits for the guard.
---@return string
function M.scratch()
  if scratch then return scratch end
  scratch = M.check('d=$(mktemp -d "${TMPDIR:-/tmp}/lunadex-test.XXXXXX") && chmod 755 "$d" && printf %s "$d"')
  guard = assert(io.popen([[
    exec setsid sh -c '
      trap "" INT TERM HUP
      cat >/dev/null
      for f in "$1"/*/guarded.pid; do
        [ -f "$f" ] && kill -QUIT "$(cat "$f")" 2>/dev/null
      done
      for f in "$1"/*/guarded.pid; do
        [ -f "$f" ] || continue
        n=0
        while kill -0 "$(cat "$f")" 2>/dev/null && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
        kill -KILL "$(cat "$f")" 2>/dev/null
      done
      rm -rf "$1"
    ' guard ]] .. M.quote(scratch), "w"))
  return scratch
end

--- Only for the guard's own spec: the handle whose end it waits for.
function M.guard()
  return guard
end

local serial = 0

--- A new directory below the scratch directory.
---@param prefix string
---@return string
function M.directory(prefix)
  serial = serial + 1
  local path = ("%s/%s-%d"):format(M.scratch(), prefix, serial)
  M.check("mkdir -m 755 " .. M.quote(path))
  return path
end

--- A loopback TCP port that nobody listens on, below the range the kernel hands out by itself.
---@return integer
function M.free_port()
  local used = {}
  for _, file in ipairs { "/proc/net/tcp", "/proc/net/tcp6" } do
    for port in (M.read_file(file) or ""):gmatch(":%s*%x+:(%x%x%x%x) ") do used[tonumber(port, 16)] = true end
  end
  -- busted seeds by the second: two runs side by side would draw the same ports at the same time.
  local pid = math.tointeger(tonumber(M.read_file("/proc/self/stat"):match "^%d+"))
  while true do
    local port = 15000 + (math.random(0, 16999) + pid) % 17000
    if not used[port] then return port end
  end
end

---@class support.Process
---@field pid integer
---@field private dir string
local Process = {}
Process.__index = Process

--- Starts a program in the background.
---@param words any[]
---@param options {env: table<string, string|number|false>?, clean: boolean?, stdin: string?, cwd: string?}?
---  env: a value of false unsets; clean: start from an empty environment
---@return support.Process
function M.start(words, options)
  options = options or {}
  local dir = M.directory("process")
  -- A shell starts background commands with SIGINT ignored, nohup with SIGHUP; a program under test must not notice.
  local command = { "env", "--default-signal=INT,QUIT,HUP" }
  if options.clean then command[#command + 1] = "-i" end
  local names = {}
  for name in pairs(options.env or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if options.env[name] == false then
      table.insert(command, "-u")
      table.insert(command, name)
    end
  end
  for _, name in ipairs(names) do
    if options.env[name] then table.insert(command, name .. "=" .. options.env[name]) end
  end
  table.move(words, 1, #words, #command + 1, command)
  M.write_file(dir .. "/stdin", options.stdin or "")
  local script = ([[
    cd %s || exit 1
    (
      sh -c 'echo $$ >"$0/pid.new" && mv "$0/pid.new" "$0/pid"; exec "$@"' %s %s <%s/stdin >%s/stdout 2>%s/stderr
      echo $? >%s/status.new && mv %s/status.new %s/status
    ) >/dev/null 2>&1 </dev/null &
  ]]):format(M.quote(options.cwd or "."), M.quote(dir), M.command(command), dir, dir, dir, dir, dir, dir)
  M.check(script)
  local pid = M.eventually("process to start", function() return M.read_file(dir .. "/pid") end)
  return setmetatable({ pid = assert(math.tointeger(tonumber(pid))), dir = dir }, Process)
end

---@return boolean
function Process:running()
  return M.read_file(self.dir .. "/status") == nil
end

---@param signal string? default TERM
function Process:kill(signal)
  M.run(("kill -%s %d"):format(signal or "TERM", self.pid))
end

---@return string what it wrote so far
function Process:stdout() return M.read_file(self.dir .. "/stdout") or "" end
---@return string
function Process:stderr() return M.read_file(self.dir .. "/stderr") or "" end

--- Waits for the end; an error after `seconds` (120).
---@param seconds number?
---@return {status: integer, stdout: string, stderr: string}
function Process:wait(seconds)
  local deadline = M.now() + (seconds or 120)
  while true do
    local status = M.read_file(self.dir .. "/status")
    if status then return { status = tonumber(status), stdout = self:stdout(), stderr = self:stderr() } end
    if M.now() > deadline then
      self:kill("KILL")
      error(("pid %d did not end; it wrote:\n%s%s"):format(self.pid, self:stdout(), self:stderr()), 2)
    end
    M.sleep(0.005)
  end
end

--- Runs a program to its end.
---@param words any[]
---@param options table? as for `start`, and `seconds`
---@return {status: integer, stdout: string, stderr: string}
function M.call(words, options)
  return M.start(words, options):wait(options and options.seconds)
end

return M
