-- A proxy before a server that cuts, resets or stalls links (proxy.c).
local lunadex = require "support.lunadex"
local shell = require "support.shell"

local M = {}

---@class support.Proxy
---@field port integer
local Proxy = {}
Proxy.__index = Proxy

--- Starts a proxy before `server`.
---@param server support.Server
---@return support.Proxy
function M.start(server)
  local output = shell.directory("proxy") .. "/output"
  shell.write_file(output, "")
  local pipe = assert(io.popen(("exec %s %d >%s"):format(shell.quote(lunadex.build .. "/tests/lunadex-proxy"),
    server.port, shell.quote(output)), "w"))
  pipe:setvbuf("no")
  local proxy = setmetatable({ pipe = pipe, output = output, server = server, seen = {} }, Proxy)
  proxy.port = proxy:answer("port")
  return proxy
end

-- The number in the next line of the output that begins with `word`; the words come in any order.
function Proxy:answer(word)
  return shell.eventually("the proxy's " .. word, function()
    local pattern, from = "%f[%a]" .. word .. " (%d+)\n", (self.seen[word] or 0) + 1
    local at, finish, number = shell.read_file(self.output):find(pattern, from)
    if not at then return nil end
    self.seen[word] = finish
    return math.tointeger(tonumber(number))
  end)
end

function Proxy:tell(command)
  self.pipe:write(command, "\n")
  return self:answer("done")
end

--- The server's URL of `database`, through here.
---@param database string
---@param user string? default: the server's superuser
---@return string
function Proxy:url(database, user)
  return ("postgresql://%s@127.0.0.1:%d/%s"):format(user or self.server.user, self.port, database)
end

--- Breaks links: all, or that of one server process.
---@param how "cut"|"reset"|"stall"|"resume"
---@param pid integer|string|nil
---@return integer count of links
function Proxy:make(how, pid)
  local who = pid and self.server:value("postgres",
    ("SELECT client_port FROM pg_stat_activity WHERE pid = %s"):format(pid))
  return self:tell(("%s %s"):format(how, who or "all"))
end

--- What happens to the next link on which the client sends `text`; once, and after the traps that were set before.
---@param how "cut"|"reset"|"stall"
---@param when "before"|"after"   it was passed on
---@param text string
function Proxy:trap(how, when, text)
  self:tell(("trap %s %s %s"):format(how, when, text))
end

--- Waits until the next trap has caught something; returns the port that stands for that link.
---@return integer
function Proxy:fired()
  return self:answer("fired")
end

--- The same for the link that a trap caught.
---@param port integer
function Proxy:resume(port)
  return self:tell("resume " .. port)
end

--- Whether new links are refused.
---@param on boolean
function Proxy:refuse(on)
  self:tell("refuse " .. (on and "on" or "off"))
end

function Proxy:close()
  if self.pipe then self.pipe:close() end
  self.pipe = nil
end

return M
