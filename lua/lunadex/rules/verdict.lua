--- What a rule gave, as a verdict; and what it may amend.

local format = require "lunadex.format"
local schema = require "lunadex.registry.schema"

local M = {}

---@class lunadex.Verdict
---@field verdict "allow"|"warn"|"skip"|"put off"|"block"
---@field message string
---@field amend table<string, any>?   # options of the declaration as they are for this run
---@field changes string[]?        # on a relation or plan: by action, which changes it counts for

--- How each is told.
M.levels = { allow = "info", warn = "warning", skip = "info", ["put off"] = "info", block = "error" }

--- Those that keep a change from being made; the strongest counts.
M.holds = { skip = 1, ["put off"] = 2, block = 3 }

local WORDS = '"allow", "warn", "skip" or "block"'
local EXPECTED = "expected nothing, or " .. WORDS
  .. ' and a message, or { verdict = "…", message = "…", amend = { … } }'
local words = { allow = true, warn = true, skip = true, block = true }
local known_fields = { verdict = true, message = true, amend = true, changes = true }

local function hint_of(word, candidates)
  local hint = schema.hint(word, candidates)
  return hint and "; " .. hint or ""
end

-- What is no part of the definition, and may be another for one run.
local amendable = { "mode", "lock_timeout", "maintenance_work_mem", "parallel_workers", "commit_quorum", "critical",
  "description" }

local function amendments(amend, dialect, entry)
  if type(amend) ~= "table" then return nil, ("amend is %s; expected a table"):format(schema.show(amend)) end
  local options, names, result = dialect.schema.kinds.index.options, { "put_off" }, {}
  for _, name in ipairs(amendable) do
    if options[name] then names[#names + 1] = name end
  end
  for name, value in pairs(amend) do
    local option = type(name) == "string" and options[name]
    local known = name == "put_off"
    for _, each in ipairs(names) do known = known or each == name end
    if not known then
      return nil, ("amend cannot change %s; expected one of %s%s"):format(schema.show(name), table.concat(names, ", "),
        hint_of(name, names))
    elseif name == "put_off" then
      if type(value) ~= "boolean" then return nil, "put_off is " .. schema.show(value) .. "; expected true or false" end
      result.put_off = value or nil
    elseif not entry then
      return nil, ("amend changes %s, but what is dropped is not declared and has no options; expected put_off alone")
        :format(name)
    else
      local kept, expected, wrong = nil, nil, nil
      if option.types[type(value)] then
        kept = value
        if option.check then kept, expected, wrong = option.check(value) end
      end
      if kept == nil then
        return nil, ("amend: %s %s%s"):format(name, wrong or "is " .. schema.show(value),
          expected and "; expected " .. expected or "")
      end
      result[option.field] = kept
    end
  end
  return result
end

--- What a rule says as it is told: nobody reads more, and every byte of it goes to a terminal.
---@param text string
---@return string
function M.text(text)
  if #text > 2000 then text = text:sub(1, 2000):gsub("[\x80-\xBF]*$", "") .. "…" end
  return format.utf8(text)
end

local function text_of(message)
  if message == nil then return "" end
  if type(message) == "string" then return M.text(message) end
  return nil, ("the message is %s; expected a text"):format(schema.show(message))
end

-- A table of the rule's options comes back as the view of it that the rule was shown. One with a metatable, which a
-- plugin can make, would run the rule's code here, where no limit holds: nil.
local function plain(value)
  if type(value) == "table" and debug.getmetatable(value) then return nil end
  if type(value) ~= "userdata" then return value end
  local copied = {}
  local is_table = pcall(function()
    for key, each in pairs(value) do copied[key] = each end
  end)
  return is_table and copied or value
end

--- The verdict that an answer is; nil and what is wrong with it.
---@param first any                # what the check gave
---@param second any
---@param dialect lunadex.Dialect
---@param entry lunadex.Entry?     # of what it is about
---@return lunadex.Verdict?
---@return string? flaw
function M.of(first, second, dialect, entry)
  local verdict, message, amend, changes = first, second, nil, nil
  if type(first) == "table" then
    for _, each in pairs { first, rawget(first, "amend"), rawget(first, "changes") } do
      if plain(each) == nil then return nil, "gave a table with a metatable; " .. EXPECTED end
    end
    for field in pairs(first) do
      if not known_fields[field] then
        return nil, ("gave a table with %s; %s%s"):format(schema.show(field), EXPECTED, hint_of(field, known_fields))
      end
    end
    verdict, message, amend = first.verdict or first.amend and "allow", first.message, plain(first.amend)
    if first.changes ~= nil then
      local expected, wrong, hint
      changes, expected, wrong, hint = schema.subject_list(plain(first.changes))
      if not changes then
        return nil, ("changes %s; expected %s%s"):format(wrong, expected, hint and "; " .. hint or "")
      end
    end
  end
  if type(verdict) ~= "string" or not words[verdict] then
    return nil, ("gave %s; %s%s"):format(schema.show(verdict), EXPECTED, hint_of(verdict, words))
  end
  local text, flaw = text_of(message)
  if not text then return nil, flaw end
  local result = { verdict = verdict, message = text, changes = changes }
  if amend ~= nil then
    result.amend, flaw = amendments(amend, dialect, entry)
    if not result.amend then return nil, flaw end
    if result.amend.put_off then
      result.amend.put_off = nil
      if not M.holds[verdict] then result.verdict = "put off" end
    end
    if not next(result.amend) then result.amend = nil end
  end
  return result
end

return M
