--- A plan as people read it: a picture on a terminal, one fact per line elsewhere.

local format = require "lunadex.format"
local output = require "lunadex.cli.output"
local planning = require "lunadex.plan"

local M = {}

local signs = {
  create = { "+", "green" }, replace = { "~", "yellow" }, rename = { "~", "yellow" }, alter = { "~", "yellow" },
  rebuild = { "!", "magenta" }, drop = { "-", "red" }, wait = { "…", "blue" }, keep = { "=", "dim" },
  stray = { "?", "cyan" }, error = { "✗", "red" },
}

local verbs = {
  create = "to create", replace = "to replace", rename = "to rename", alter = "to alter", rebuild = "to rebuild",
  drop = "to drop", wait = "to wait for",
}

local builds = { create = true, replace = true, rebuild = true }

local function figures(plan, change, mode)
  local estimate, parts = change.estimate, {}
  if estimate.rows and estimate.table_bytes then
    parts[1] = format.quantity(estimate.rows, plan.dialect.row) .. ", " .. format.bytes(estimate.table_bytes)
  end
  if change.entry and change.entry.fields.kind ~= "foreign_key" then
    local index = {}
    if estimate.index_bytes then index[1] = "index about " .. format.bytes(estimate.index_bytes) end
    local seconds = estimate.seconds
    if seconds and seconds >= 1 then index[#index + 1] = "about " .. format.rough(seconds) end
    mode = plan.dialect.modes and (mode or change.entry.mode)
    if mode and mode ~= "auto" then index[#index + 1] = mode == "concurrent" and "concurrently" or "blocking writes" end
    if #index > 0 then parts[#parts + 1] = table.concat(index, ", ") end
  end
  return table.concat(parts, "; ")
end

-- That what is to be created is not there needs no words.
local function obvious(change)
  return change.reason == "" or change.action == "create" and not change.use_existing
end

local held_words = { block = "blocked", skip = "skipped", ["put off"] = "put off" }

local function held_text(held)
  return ("not made: %s by %s: %s"):format(held_words[held.verdict], held.rule, held.message)
end

-- The findings that say no more than stands with their change already: why it is not made, where that is no error.
local function told_with_changes(plan)
  local told = {}
  for change in plan:work { held = true } do
    local held = change.held
    for _, each in ipairs(held and change.findings or {}) do
      told[each] = each.level == "info" and each.rule == held.rule and each.message == held.message or nil
    end
  end
  return told
end

local function title(change)
  local name = change.name or change.live_name
  if change.live_name and change.live_name ~= name then return name .. " (now " .. change.live_name .. ")" end
  return name
end

local function keep_text(plan)
  local differing = {}
  for _, change in ipairs(plan.planned) do
    if change.action == "keep" and change.fact.name_differs then
      differing[#differing + 1] = ("%s is %s by definition"):format(change.live_name, change.name)
    end
  end
  local text = tostring(plan.summary.keep)
  if #differing == 0 then return text end
  local shown = table.concat(differing, ", ", 1, math.min(#differing, 5))
  if #differing > 5 then shown = shown .. ", …" end
  return ("%s, %s under another name (%s)"):format(text, #differing == 1 and "one" or tostring(#differing), shown)
end

local function last_line(plan)
  local summary, parts = plan.summary, {}
  for _, action in ipairs(planning.actions) do
    if summary[action] > 0 then parts[#parts + 1] = summary[action] .. " " .. verbs[action] end
  end
  if #parts == 0 then parts[1] = "nothing to do" end
  for _, held in ipairs { "blocked", "skipped", "put_off" } do
    if summary[held] > 0 then parts[#parts + 1] = summary[held] .. " " .. held:gsub("_", " ") end
  end
  parts[#parts + 1] = summary.keep .. " kept"
  local text = "Plan: " .. table.concat(parts, ", ")
  if summary.stray > 0 then
    text = text .. ("; %d stray%s kept"):format(summary.stray, summary.stray == 1 and "" or "s")
  end
  if summary.error > 0 then
    text = text .. ("; %d error%s, nothing can be applied"):format(summary.error, summary.error == 1 and "" or "s")
  end
  return text .. "."
end

local function is_stray(finding)
  return finding.rule == "stray" or finding.stray
end

local function head_texts(plan, files)
  local summary = plan.summary
  return ("%s %s"):format(plan.info.product, plan.info.version),
    ("%s%d declared, %d live"):format(files and files .. ": " or "", summary.declared, summary.live)
end

local function label(plan, options)
  return options.several and format.line(plan.database) .. ": " or ""
end

-- One fact per line, words separated so that grep and awk find them.
local function lines(plan, options)
  local server, counts = head_texts(plan, options.files)
  output.line(("%starget %s (%s)"):format(label(plan, options), plan.target, server))
  output.line(counts)
  for change in plan:work { held = true } do
    local facts = { change.definition }
    if builds[change.action] then
      local text = figures(plan, change, options.mode)
      if text ~= "" then facts[#facts + 1] = text end
    end
    if not obvious(change) then facts[#facts + 1] = change.reason end
    if change.critical then facts[#facts + 1] = "critical" end
    if change.description then facts[#facts + 1] = change.description end
    if change.waits then facts[#facts + 1] = "begins later: " .. change.waits end
    if change.held then facts[#facts + 1] = held_text(change.held) end
    output.line(format.line(("%s %s %s: %s"):format(change.action, change.relation, title(change),
      table.concat(facts, "; "))))
  end
  if plan.summary.keep > 0 then output.line("keep ", format.line(keep_text(plan))) end
  local told = told_with_changes(plan)
  for _, finding in ipairs(plan.findings) do
    if is_stray(finding) then
      output.line(format.line(("stray %s %s: %s; %s"):format(finding.relation, finding.name, finding.definition,
        finding.message)))
    elseif finding.rule ~= "name-differs" and not told[finding] then
      output.line(finding.level, " ", finding.rule, ": ", planning.finding_text(finding))
    end
  end
end

local function picture(plan, options)
  local server, counts = head_texts(plan, options.files)
  output.line(label(plan, options), output.style("bold", plan.info.database), "  ", plan.target, "   ", server, "   ",
    counts)
  output.line()
  local width = 12
  local function each_relation(name) width = math.min(math.max(width, utf8.len(name) or #name), 40) end
  for change in plan:changes() do each_relation(format.line(change.relation)) end
  for _, finding in ipairs(plan.findings) do
    if finding.relation then each_relation(format.line(finding.relation)) end
  end
  local function row(kind, relation, rest)
    local sign = signs[kind]
    output.line("  ", output.style(sign[2], sign[1] .. " " .. format.pad(kind, 8)), " ",
      format.pad(format.line(relation), width), "   ", rest)
  end
  local function more(text) output.line((" "):rep(13), text) end
  for change in plan:work { held = true } do
    row(change.action, change.relation, output.style("bold", format.line(title(change)))
      .. (builds[change.action] and change.critical and "   " .. output.style("red", "critical") or ""))
    if change.description then more(format.line(change.description)) end
    more(format.line(change.definition))
    local text = builds[change.action] and figures(plan, change, options.mode) or ""
    if not obvious(change) then
      text = change.reason .. (text ~= "" and "; " .. text or "")
    end
    if text ~= "" then more(output.style("dim", format.line(text))) end
    if change.waits then more(output.style("dim", format.line("begins later: " .. change.waits))) end
    if change.held then more(output.style("red", format.line(held_text(change.held)))) end
  end
  if plan.summary.keep > 0 then
    output.line("  ", output.style("dim", "= keep     " .. format.line(keep_text(plan))))
  end
  local told = told_with_changes(plan)
  for _, finding in ipairs(plan.findings) do
    if is_stray(finding) then
      row("stray", finding.relation, ("%s   %s"):format(format.line(finding.name), format.line(finding.message)))
    elseif finding.level == "error" then
      row("error", finding.relation or "", output.style("red", planning.named_text(finding)))
    elseif finding.rule ~= "name-differs" and not told[finding] then
      output.line("  ", output.style("yellow", finding.level .. ": "), planning.named_text(finding))
    end
  end
  output.line()
end

--- Writes the plan.
---@param plan lunadex.Plan
---@param options {files: string?, mode: string?, quiet: boolean?, several: boolean?}
function M.plan(plan, options)
  if not options.quiet then
    if output.columns() then picture(plan, options) else lines(plan, options) end
  end
  output.line(label(plan, options), output.style("bold", last_line(plan)))
end

return M
