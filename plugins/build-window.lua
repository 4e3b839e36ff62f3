-- Large builds only at certain hours. Asked for in the registry:
--
--   rule "build-window" { options = { from = "22:00", to = "05:00", larger_than = "10GB" } }
--
-- Outside of these hours, of the clock of the machine that runs Lunadex, a build on a larger relation is put off: the
-- others are made, and the next run within them makes it. `days` narrows it further: { "sat", "sun" }, the days on
-- which the window opens.

local function minutes(text)
  local hours, rest = text:match "^(%d%d?):(%d%d)$"
  hours, rest = tonumber(hours), tonumber(rest)
  return hours and hours < 24 and rest < 60 and hours * 60 + rest or nil
end

local function is_time(text)
  return minutes(text) ~= nil, 'a time of day such as "22:00"'
end

local names = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" }

local function are_days(list)
  local known = {}
  for _, name in ipairs(names) do known[name] = true end
  local count = 0
  for _, name in pairs(list) do
    if not known[name] then count = -1 break end
    count = count + 1
  end
  return count > 0 and count == #list, 'some of "' .. table.concat(names, '", "') .. '"'
end

return {
  name = "build-window",
  describe = "large builds outside of their hours",
  options = {
    from = { type = "text", default = "22:00", check = is_time, description = "When it opens." },
    to = { type = "text", default = "06:00", check = is_time,
      description = "When it closes; not after `from`: on the next day." },
    days = { type = "table", check = are_days,
      description = 'On which days it opens: { "sat", "sun" }. Default: all.' },
    larger_than = { type = "size", default = "1GB", description = "Relations from which size on." },
  },
  rule = {
    on = { "create", "replace", "rebuild" },
    check = function(change, context)
      local options, bytes = context.options, change.estimate.table_bytes or 0
      if bytes <= options.larger_than or change.index.kind == "foreign_key" then return end
      local now = context.date.hour * 60 + context.date.min
      local from, to = minutes(options.from), minutes(options.to)
      local overnight = from >= to
      local is_open = overnight and (now >= from or now < to) or now >= from and now < to
      -- The part after midnight belongs to the day before.
      local day = names[(context.date.wday - 1 - (overnight and now < to and 1 or 0)) % 7 + 1]
      for i, each in ipairs(options.days or {}) do
        if each == day then break end
        if i == #options.days then is_open = false end
      end
      if is_open then return end
      return { message = ("%s is large: it is built from %s to %s%s"):format(change.relation, options.from, options.to,
        options.days and " on " .. table.concat(options.days, ", ") or ""), amend = { put_off = true } }
    end,
  },
}
