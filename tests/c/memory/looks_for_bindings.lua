-- Each binding is in uses_all.lua, unless it is nobody's to call without a terminal.
local core, path = ...
local file <close> = assert(io.open(path))
local script = file:read "a"
local db <close> = core.open 'fake:classes?tables=t'
local function finish(job)
  while true do
    local event = db:poll(5)
    if event and event.job == job and event.event == 'done' then return event.result end
  end
end
local fields = { kind = 'index', relation = 't', keys = { { column = 'a' } } }
finish(db:perform { kind = 'build', relation = 't', name = 'i', fields = fields })
local catalog, set = finish(db:catalog()), core.declarations()
finish(db:resolve(set, catalog))
local relation = catalog:relation(nil, 't')
local missing, seen = {}, 0
local function look(names, form)
  for name, value in pairs(names) do
    if type(value) == 'function' then
      seen = seen + 1
      if not script:find(form:format(name)) then missing[#missing + 1] = name end
    end
  end
end
look(core, '%%f[%%w]core%%.%s%%f[^%%w_]')
for _, object in ipairs { db, set, catalog, core.diff(set, catalog), relation, relation:indexes()[1] } do
  local methods = debug.getmetatable(object).__index
  if type(methods) == 'function' then methods = select(2, debug.getupvalue(methods, 1)) end
  look(methods, '[:.]%s%%f[^%%w_]')
end
assert(seen > 50, seen)
assert(#missing == 0, 'no allocation is made to fail in: ' .. table.concat(missing, ', '))
