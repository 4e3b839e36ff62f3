--- Names of collections and indexes: the server's rules, and what drivers call an index that nobody named.

local M = {}

-- A replacement cannot take the old one's name, as there is no renaming of indexes here: it keeps its own.
M.stays = true

local LONGEST = 255 -- bytes of a collection's name, with its database's and a dot before it

--- A collection's name, which is taken as it is written; or nil and what is wrong with it.
---@param title string
---@return string? name
---@return string? wrong
---@return string? expected
---@return string? hint
function M.relation(title)
  local wrong, hint
  if title == "" then
    wrong = "is not the name of a collection"
  elseif title:find("\0", 1, true) then
    wrong = "holds a zero byte"
  elseif not utf8.len(title) then
    wrong = "is not valid UTF-8"
  elseif title:find("$", 1, true) then
    wrong = "holds a $, which no name of a collection may"
  elseif title:sub(1, 1) == "." then
    wrong = "begins with a dot"
  elseif title:find "^system%." then
    local series = title:match "^system%.buckets%.(.+)"
    wrong, hint = "belongs to the server", series and ("It holds the time series %s, which is declared by that name.")
      :format(series)
  elseif title:find "^lunadex%." then
    wrong = "belongs to Lunadex"
  elseif #title > LONGEST - 2 then
    wrong = ("is longer than %d bytes"):format(LONGEST - 2)
  end
  if not wrong then return title end
  return nil, wrong, 'the name of a collection, such as "users" or "fs.files"', hint
end

---@param _ lunadex.Relation
---@param name string
---@return string
function M.display(_, name) return name end

--- Where a name has to be its own: among the indexes of its collection.
---@param fields lunadex.Fields
---@param _ string?                # there are no schemas
---@param name string
---@return string key
function M.place(fields, _, name) return fields.relation .. "\0" .. name end

--- As the server would keep it: as it is.
---@param name string
---@return string
function M.truncate(name) return name end

--- The name drivers make of the keys: `email_1_at_-1`, `location_2dsphere`. `taken(name)` says whether something has
--- that name already; then a number follows.
---@param fields lunadex.Fields
---@param _ string
---@param taken fun(name: string): boolean?
---@return string
function M.choose(fields, _, taken)
  local parts = {}
  for i, key in ipairs(fields.keys) do
    parts[i] = key.column .. "_" .. (key.opclass or key.descending and "-1" or "1")
  end
  local base, pass = table.concat(parts, "_"), 1
  local name = base
  while taken(name) do
    pass = pass + 1
    name = ("%s_%d"):format(base, pass)
  end
  return name
end

--- What a replacement of `name` is called, and remains so: the next one after that has the name itself again. It is the
--- first of NAME_ldx, NAME_ldx2 … that is not taken.
---@param name string
---@param taken fun(name: string): boolean?
---@return string
function M.replacement(name, taken)
  local base, pass = name .. "_ldx", 1
  local made = base
  while taken(made) do
    pass = pass + 1
    made = base .. pass
  end
  return made
end

--- The name that a replacement's was made from; nil: it is none of ours.
---@param name string
---@return string?
function M.replaced(name) return name:match "^(.+)_ldx%d*$" end

return M
