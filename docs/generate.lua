-- Writes docs/reference.md, what scripts may use, from the annotations in lua/: `./dev docs`.

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

---@class docs.Item
---@field text string[]            # the prose
---@field params {name: string, type: string, text: string}[]
---@field returns string[]
---@field class string?
---@field parent string?           # of the class
---@field fields {name: string, type: string, text: string}[]
---@field owner string?            # "M", "Connection"
---@field name string?
---@field arguments string?        # of a function

-- "string|nil?  rest": a type ends at a blank that is in no bracket.
local function split_type(text)
  local depth = 0
  for i = 1, #text do
    local c = text:sub(i, i)
    if c:find "[%(%[{<]" then depth = depth + 1 end
    if c:find "[%)%]}>]" then depth = depth - 1 end
    local before = text:sub(1, i - 1)
    if c == " " and depth == 0 and not before:find "[:,|]$" then
      local after = text:sub(i + 1):gsub("^%s*#?%s*", ""):gsub("%s*#%s*", ": ", 1)
      if after:find "^%.%.%." then return before .. " …", (after:gsub("^[.%s:]+", "")) end
      return before, after
    end
  end
  return text, ""
end

local function add_tag(item, tag, rest)
  if tag == "param" or tag == "field" then
    local name, after = rest:match "^(%S+)%s+(.*)$"
    local of, text = split_type(after)
    local list = tag == "param" and item.params or item.fields
    list[#list + 1] = { name = name, type = of, text = text }
  elseif tag == "return" then
    local of, after = split_type(rest)
    item.returns[#item.returns + 1] = { type = of, text = after }
  elseif tag == "class" then
    item.class, item.parent, item.about = rest:match "^([%w_.]+)%s*:?%s*([%w_.%[%]]*)%s*#?%s*(.*)$"
  elseif tag == "type" then
    local of, after = split_type(rest)
    item.arguments = of:match "^fun%(self: [^,)]*,? ?(.*)%)" or of:match "^fun%((.*)%)"
    item.type, item.about = of, after
  end
end

---@param path string
---@return docs.Item[]
local function items_of(path)
  local items, block = {}, nil
  for line in read(path):gmatch "([^\n]*)\n" do
    local comment = line:match "^%-%-%-(.*)$"
    if comment then
      block = block or { text = {}, params = {}, returns = {}, fields = {} }
      local tag, rest = comment:match "^@(%a+)%s*(.*)$"
      if tag == "class" and block.class then -- one block may hold several
        items[#items + 1] = block
        block = { text = {}, params = {}, returns = {}, fields = {} }
      end
      if tag then add_tag(block, tag, rest) else block.text[#block.text + 1] = comment:gsub("^ ", "") end
    elseif block and line:find "^%s+%-%-" then -- luacheck: ignore 542
    elseif block then
      local owner, name, arguments = line:match "^function ([%w_.]+)[.:]([%w_]+)%((.-)%)"
      if not owner then owner, name = line:match "^([%u][%w_]*)%.([%w_]+)[ ,]" end
      block.owner, block.name, block.arguments = owner, name, arguments or block.arguments
      items[#items + 1] = block
      block = nil
    end
  end
  return items
end

local out = {}
local function put(...)
  for _, line in ipairs { ... } do out[#out + 1] = line end
end

local function escape(text) return (text:gsub("|", "\\|")) end

local named = {} -- types of lunadex's that somebody reads of → where

local function note_types(text, where)
  for name in text:gmatch "lunadex%.[%w_.]+" do
    if name:find "%.%u%w*$" then named[name] = named[name] or where end
  end
end

local function put_item(item, prefix)
  for _, list in ipairs { item.params, item.returns } do
    for _, each in ipairs(list) do note_types(each.type, prefix .. item.name) end
  end
  local arguments = item.arguments and "(" .. item.arguments:gsub(": [^,]+", "") .. ")" or ""
  put(("### `%s%s%s`"):format(prefix, item.name, arguments), "")
  for _, line in ipairs(item.text) do put(line) end
  put ""
  if #item.params > 0 then
    for _, param in ipairs(item.params) do
      put(("- `%s` `%s`%s"):format(param.name, param.type, param.text ~= "" and ": " .. param.text or ""))
    end
    put ""
  end
  for i, result in ipairs(item.returns) do
    local text = result.text ~= "" and " " .. result.text or ""
    put(("%s `%s`%s  "):format(i == 1 and "Gives" or "and", result.type, text))
  end
  if #item.returns > 0 then put "" end
end

-- The members of an owner in a file; with `names` those, in that order.
local function put_members(path, owner, prefix, names)
  local found, order = {}, {}
  for _, item in ipairs(items_of(path)) do
    if item.owner == owner and item.name then
      found[item.name] = item
      order[#order + 1] = item.name
    end
  end
  for _, name in ipairs(names or order) do
    put_item(found[name] or error(path .. " does not document " .. name), prefix)
  end
end

-- What has a section of its own, or is only handed on.
local described = {
  ["lunadex.Connection"] = true, ["lunadex.Session"] = true, ["lunadex.Plan"] = true, ["lunadex.Task"] = true,
  ["lunadex.Catalog"] = true, ["lunadex.Document"] = true, ["lunadex.Registry"] = true, ["lunadex.Entry"] = true,
  ["lunadex.Change"] = true, ["lunadex.Limits"] = true, ["lunadex.Backfill"] = true,
  ["lunadex.SingleBackfill"] = true,
}

local function put_class(path, name)
  for _, item in ipairs(items_of(path)) do
    if item.class == name then
      described[name] = true
      put(("### `%s`"):format(name), "")
      if item.about and item.about ~= "" then put(item.about, "") end
      if item.parent:find "^lunadex%." and not item.parent:find "%[" then
        note_types(item.parent, name)
        put(("Has what `%s` has, and:"):format(item.parent), "")
      end
      put("| field | type | |", "|---|---|---|")
      for _, field in ipairs(item.fields) do
        note_types(field.type, name)
        put(("| `%s` | `%s` | %s |"):format(field.name, escape(field.type), escape(field.text)))
      end
      put ""
      return
    end
  end
  error(path .. " does not document " .. name)
end

put("<!-- Written by ./dev docs from the annotations in lua/; what is changed here is lost. -->", "# Reference", "",
  "What `require \"lunadex\"` gives to scripts; `docs/scripts.md` is about how to use it.", "", "## lunadex", "")
put_members("lua/lunadex/init.lua", "M", "lunadex.")
put("## A connection", "", "What `lunadex.connect` gives; `db` below. It is closed by `db:close()`, `<close>`, or the "
  .. "collector.", "")
put_members("lua/lunadex/session.lua", "Session", "db:", { "query", "rows" })
put_members("lua/lunadex/database.lua", "Connection", "db:", { "transaction" })
put_members("lua/lunadex/single.lua", "Connection", "db:")
put_members("lua/lunadex/database.lua", "Connection", "db:", { "connect", "catalog", "status", "close" })
put("## A plan", "")
put_members("lua/lunadex/plan.lua", "Plan", "plan:")
put_members("lua/lunadex/init.lua", "plan.Plan", "plan:")
put("## A backfill", "")
put_members("lua/lunadex/single.lua", "SingleBackfill", "backfill:")
put("## A task", "")
put_members("lua/lunadex/task.lua", "Task", "task:")
put("## lunadex.bson", "")
for line in read("lua/lunadex/bson.lua"):gmatch "([^\n]*)\n" do
  local text = line:match "^%-%-%- ?(.*)$"
  if not text then break end
  put(text)
end
put ""
put_members("lua/lunadex/bson.lua", "M", "lunadex.bson.")
put("## A catalog", "", "What `db:catalog()` gives: what was live at that moment.", "")
put_members("lua/meta/core.lua", "Catalog", "catalog:")
put_members("lua/meta/core.lua", "Relation", "relation:")
put_members("lua/meta/core.lua", "Index", "index:", { "fields" })
put("## Values", "")
for _, class in ipairs {
  { "lua/meta/core.lua", "lunadex.Error" }, { "lua/lunadex/bson.lua", "lunadex.Value" },
  { "lua/lunadex/session.lua", "lunadex.Rows" }, { "lua/lunadex/notice.lua", "lunadex.Notice" },
  { "lua/lunadex/database.lua", "lunadex.ConnectOptions" }, { "lua/lunadex/database.lua", "lunadex.ServerInfo" },
  { "lua/lunadex/registry.lua", "lunadex.registry.Options" },
  { "lua/lunadex/plan.lua", "lunadex.PlanOptions" }, { "lua/lunadex/plan.lua", "lunadex.PlannedChange" },
  { "lua/lunadex/plan.lua", "lunadex.Finding" }, { "lua/lunadex/apply.lua", "lunadex.ApplyOptions" },
  { "lua/lunadex/single.lua", "lunadex.ChangeOptions" }, { "lua/lunadex/single.lua", "lunadex.BuildOptions" },
  { "lua/lunadex/postgres/steps.lua", "lunadex.StepOptions" }, { "lua/lunadex/apply.lua", "lunadex.Outcome" },
  { "lua/lunadex/backfill.lua", "lunadex.BackfillOptions" }, { "lua/lunadex/backfill.lua", "lunadex.BackfillOutcome" },
  { "lua/meta/core.lua", "lunadex.Retry" }, { "lua/lunadex/init.lua", "lunadex.RetryOptions" },
  { "lua/meta/core.lua", "lunadex.Relation" },
  { "lua/meta/core.lua", "lunadex.Index" }, { "lua/meta/core.lua", "lunadex.Fields" },
  { "lua/meta/core.lua", "lunadex.Key" },
} do put_class(class[1], class[2]) end

for name, where in pairs(named) do
  if not described[name] then error(("%s speaks of %s, which is described nowhere"):format(where, name), 0) end
end

io.write((table.concat(out, "\n"):gsub("\n\n\n+", "\n\n"):gsub("\n*$", "\n", 1)))
