--- Asks a rule about one subject after the other, under limits: what goes wrong is about that subject alone.

local sandbox = require "lunadex.sandbox"

local M = {}

-- For one question. A loop without end takes some hundredths of a second to get there.
M.limits = { instructions = 10 * 1000 * 1000, memory = 64 * 1024 * 1024 }

-- To begin and end a limited run takes longer than most answers, so many questions share one. A question that ends
-- it was perhaps only the last straw: it is asked once more, alone.
local AT_ONCE = 200

-- A rule that was stopped so often is not asked any more: 20,000 loops without end would take a quarter of an hour.
local MOST_STOPPED = 10

---@class lunadex.rules.Answer
---@field failed string?           # what went wrong, with its place
---@field unasked boolean?         # there is no server, or it did not tell: nothing can be said
---@field [1] any                  # else what the rule gave
---@field [2] any
---@field n integer?

-- From sandbox.run's result to one line with a place.
local function failure(rule, message, line)
  local place = rule.file .. (line and line > 0 and ":" .. line or rule.line and ":" .. rule.line or "")
  return { failed = ("%s: %s"):format(place, message) }
end

--- The answers to all questions, by the number of the subject; nothing where a rule has nothing to say.
---@param rule lunadex.Rule
---@param scene lunadex.rules.Scene
---@param count integer
---@param question fun(i: integer): table, table   # the subject and the context
---@param read fun(what: string)   # reads what a rule asks for into the scene's facts, or says what is missing
---@return table<integer, lunadex.rules.Answer>
function M.all(rule, scene, count, question, read)
  local answers, check, stopped = {}, rule.check, 0
  local i, alone = 1, false
  while i <= count do
    if stopped >= MOST_STOPPED then
      for k = i, count do
        answers[k] = failure(rule, ("was stopped %d times and is not asked any more"):format(MOST_STOPPED))
      end
      break
    end
    local first, last = i, alone and i or math.min(i + AT_ONCE - 1, count)
    scene.needed = nil
    local ok, message, line, limit = sandbox.run(function()
      for k = first, last do
        i = k
        local answer = table.pack(check(question(k)))
        if scene.needed then return end -- somebody caught the interruption
        if answer[1] ~= nil then answers[k] = answer end
      end
      i = last + 1
    end, rule.environment, M.limits)
    alone = false
    local needed = scene.needed
    if needed then
      if not scene.missing[needed] then read(needed) end
      if scene.missing[needed] then
        answers[i] = { unasked = true }
        i = i + 1
      end
    elseif not ok then
      if limit and i > first then
        alone = true
      else
        answers[i] = failure(rule, message, line)
        if limit then stopped = stopped + 1 end
        i = i + 1
      end
    end
  end
  return answers
end

return M
