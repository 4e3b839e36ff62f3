--- Asks a rule about one subject after the other, under limits: what goes wrong is about that subject alone.

local sandbox = require "lunadex.sandbox"
local verdicts = require "lunadex.rules.verdict"

local M = {}

-- For one question. A loop without end takes some hundredths of a second to get there.
M.limits = { instructions = 10 * 1000 * 1000, memory = 64 * 1024 * 1024, seconds = 5 }

--- To begin and end a limited run takes longer than most answers, so many questions share one. A question that ends
--- it was perhaps only the last straw: it is asked once more, alone.
M.at_once = 200

-- A rule that was stopped so often is not asked any more: 20,000 loops without end would take a quarter of an hour.
local MOST_STOPPED = 10

--- What a rule may keep from question to question, in bytes: the limits are those of one question.
M.most_kept = 256 * 1024 * 1024

---@class lunadex.rules.Answer
---@field about table|integer     # of the subject
---@field number integer           # of the subject, among those that were asked about
---@field failed string?           # what went wrong, with its place
---@field unasked boolean?         # there is no server, or it did not tell: nothing can be said
---@field verdict lunadex.Verdict? # else

-- From sandbox.run's result to a text with a place. Where a tail call raises, the line is one of ours.
local function failure(rule, message, line, file)
  if file ~= debug.getinfo(rule.check, "S").short_src then line = rule.line end
  local place = rule.file .. (line and line > 0 and ":" .. line or "")
  return ("%s: %s"):format(place, verdicts.text(message))
end

-- What comes with Lunadex ends by itself, and counting its instructions would take twice as long as they do.
local function run(rule, chunk)
  if not rule.trusted then return sandbox.run(chunk, rule.environment, M.limits) end
  local ok, message = pcall(chunk)
  if ok then return true end
  local line, text, file = sandbox.locate(message)
  return false, text, line, nil, file
end

local function memory()
  return collectgarbage "count" * 1024
end

---@class lunadex.rules.Asker     # a rule, and what it is asked with
---@field rule lunadex.Rule
---@field scene lunadex.rules.Scene
---@field context userdata
---@field aim fun(relation: string?)
---@field stopped integer          # how often it was
---@field begun number             # the memory in use when it was first asked, in bytes
---@field grown number             # by how much that has grown while it ran
---@field given_up string?         # why it is not asked any more
local Asker = {}
Asker.__index = Asker

---@param rule lunadex.Rule
---@param scene lunadex.rules.Scene
---@return lunadex.rules.Asker
function M.of(rule, scene)
  local context, aim = scene:context(rule)
  return setmetatable({ rule = rule, scene = scene, context = context, aim = aim, stopped = 0,
    begun = memory(), grown = 0 }, Asker)
end

-- Runs it under its limits, and looks at what it leaves behind.
function Asker:run(chunk)
  local before = memory()
  local ok, message, line, limit, file = run(self.rule, chunk)
  self.grown = self.grown + memory() - before
  if self.grown > M.most_kept and not self.rule.trusted then
    collectgarbage()
    self.grown = memory() - self.begun
    if self.grown > M.most_kept then
      self.given_up = ("keeps more than %d MB from question to question"):format(M.most_kept // 1024 ^ 2)
    end
  end
  return ok, message, line, limit, file
end

-- Counts that it had to be stopped.
function Asker:count_stop()
  self.stopped = self.stopped + 1
  if self.stopped >= MOST_STOPPED then self.given_up = ("was stopped %d times"):format(MOST_STOPPED) end
end

--- What the rule has to say, in the order of the subjects; nothing of those about which it says nothing.
---@param subjects lunadex.rules.Subjects
---@param read fun(what: string)   # reads what a rule asks for into the scene's facts, or says what is missing
---@param verdict_of fun(about: table|integer, first: any, second: any): lunadex.Verdict?, string?   # or what is wrong
---@return lunadex.rules.Answer[]
function Asker:all(subjects, read, verdict_of)
  local rule, scene, context, aim = self.rule, self.scene, self.context, self.aim
  local views, relations, abouts, count = subjects.views, subjects.relations, subjects.abouts, #subjects.views
  local answers, check = {}, rule.check
  -- What a rule gave is looked at as soon as the limits no longer hold: as it came it may be large.
  local settled = 0
  local function settle()
    for k = settled + 1, #answers do
      local answer = answers[k]
      local verdict, flaw = verdict_of(answer.about, answer[1], answer[2])
      answer[1], answer[2], answer.verdict = nil, nil, verdict
      answer.failed = flaw and failure(rule, flaw, rule.line or 0)
    end
  end
  local i, alone = 1, false
  while i <= count do
    if self.given_up then
      for k = i, count do
        answers[#answers + 1] = { about = abouts[k], number = k,
          failed = failure(rule, self.given_up .. " and is not asked any more") }
      end
      break
    end
    local first, last = i, alone and i or math.min(i + M.at_once - 1, count)
    scene.needed = nil
    local ok, message, line, limit, file = self:run(function()
      local relation
      for k = first, last do
        i = k
        if relations[k] ~= relation then
          relation = relations[k]
          aim(relation or nil)
        end
        local verdict, text = check(views[k], context)
        if scene.needed then return end -- somebody caught the interruption
        if verdict ~= nil then answers[#answers + 1] = { verdict, text, about = abouts[k], number = k } end
      end
      i = last + 1
    end)
    alone = false
    settle()
    local needed = scene.needed
    if needed then
      if not scene.missing[needed] then read(needed) end
      if scene.missing[needed] then
        answers[#answers + 1] = { about = abouts[i], number = i, unasked = true }
        i = i + 1
      end
    elseif not ok then
      if limit and i > first then
        alone = true
      else
        answers[#answers + 1] = { about = abouts[i], number = i, failed = failure(rule, message, line, file) }
        if limit then self:count_stop() end
        i = i + 1
      end
    end
    settled = #answers
  end
  return answers
end

return M
