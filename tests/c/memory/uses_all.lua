-- Calls every binding, for tests/c/memory.c.
local core = ...
local db <close> = assert(core.open('fake:memory?perform=note(x),fail(deadlock)', { jobs = 2 }))
local function finish(job, of)
  while true do
    local event = (of or db):poll(5)
    if event and event.event == 'done' and event.job == job then return event end
  end
end
finish(db:connect())
local catalog = finish(db:catalog()).result
local set <close> = core.declarations()
set:add { kind = 'index', relation = 't', keys = { { column = 'a', opclass_options = { { 'n', 'v' } } } },
  include = { 'b' }, where = 'x', with = { { 'fillfactor', '70' } } }
set:add_relation('s', 't')
set:text(1)
set:fields(1)
finish(db:resolve(set, catalog))
local diff = core.diff(set, catalog)
for change in diff:changes() do tostring(change.error) end
tostring(db); tostring(set); tostring(catalog); tostring(diff)
finish(db:query('SELECT', { 1, 'x', true, { 'a', core.null }, n = 6 }))
finish(db:query(core.document('find', 't', 'filter', { a = core.list { 1, core.value('date', 2) }, b = 'c' },
  'empty', {}, 'in', { ['$in'] = {} })))
local batches = db:query('SELECT', nil, 1)
repeat
  local event = db:poll(5)
  if event and event.event == 'rows' then db:more(batches) end
until event and event.event == 'done'
for name, value in pairs(core.document('a', 1, 'b', nil)) do tostring(value) end
tostring(core.value('regex', 'a', 'i')); tostring(core.null)
local same = core.value('binary', 'x') == core.value('binary', 'x', 1)
finish(db:history('read', {})); finish(db:history('run', { '1', 2, true }))
finish(db:transact('begin', nil, { { 'SELECT' } }))
finish(db:transact('next', { { 'SELECT', { 1, n = 2 } } }, { { 'SELECT' } })); finish(db:transact 'commit')
finish(db:status())
finish(db:measure {})
finish(db:lock())
finish(db:perform { kind = 'build', relation = 't', name = 'i', retry = { attempts = 2, first_delay = 0 },
  fields = { kind = 'index', relation = 't', keys = { { column = 'a' } } } })
finish(db:perform { kind = 'drop', relation = 't', name = 'i' })
pcall(db.perform, db, { kind = 'drop', relation = 't', name = 7 })
core.parse_sql 'CREATE INDEX i ON t (lower(a) text_ops DESC, b) WHERE c > 1'
core.parse_sql 'CREATE INDEX i ON'
core.check_expression 'a + 1'
core.excluded_nulls 'a > 1 AND b IS NOT NULL'
core.parameters 'a = $1 AND b = "$2"'
core.assigned_columns 'a = 1, (b, c) = (2, 3)'
core.number_text(0.1)
core.fingerprint 'x'
core.short_option('mongodb', 'collation', '{"locale":"th","strength":3}')
core.check('mongodb', { kind = 'index', relation = 't', method = '', keys = { { column = 'a', opclass = '2d' } },
  traits = { { 'collation', '{"locale":"en"}' } } })
core.retry_delay(1, 0, 0.5, { attempts = 2 })
core.quote_name('a', 'b c')
core.split_name 'a.b'
core.open 'nonsense'
core.describe { kind = 'drop', relation = 't', name = 'i' }
core.list_directory '.'
core.resolve_path '.'
core.run_limited(function() for _ = 1, 300 do end end, { instructions = 1000, memory = 100000 })
core.run_limited(function()
  local text, of_table = core.counted.string, core.counted.table
  for a, b in text.gmatch("a=1, b=2", "(%w)=()") do text.find("b", a) text.rep(b, 2) end
  text.gsub("abc", "(b)", "%1%0") text.gsub("abc", "b", { b = "d" }) text.match("a(b)", "%b()")
  local list = { "b", "a" }
  of_table.insert(list, 1, "c") of_table.sort(list) of_table.concat(list, ", ")
  of_table.remove(list, 1) of_table.move(list, 1, 2, 2)
end, { instructions = 10000, memory = 100000 })
local copy = set:copy(); copy:spell 'postgres'; copy:twin(1); copy:count()
core.declarations():add_plain({ 'a' }, 'index', nil, 't', { keys = {}, expressions = {} })
catalog:relation('s', 't'); catalog:index('s', 'i'); catalog:relations()(); catalog:ending 'x'
catalog:tablespaces(); diff:total 'keep'; core.current_line(); core.terminal(0); core.signal(); core.now()
core.wait({ db }, 0); db:pending(); finish(db:unlock())
db:cancel(db:query 'cancelled')
local held <close> = assert(core.open 'fake:held?tables=t,u')
local fields = { kind = 'index', relation = 't', keys = { { column = 'a' } } }
assert(finish(held:perform { kind = 'build', relation = 't', name = 'i', fields = fields }, held).ok)
local live = finish(held:catalog(), held).result
local relation = live:relation(nil, 't')
relation:columns(); relation:partitions(); tostring(relation); local _ = relation.display, relation.family
local wanted <close> = core.declarations(); wanted:add(fields)
finish(held:resolve(wanted, live), held)
local index = relation:indexes()[1]
index:fields(); index:equals(index); index:matches(wanted, 1, { storage = true }); tostring(index)
_ = index.text, index.relation
finish(held:measure { { relation = relation, index = index, fields = fields } }, held)
local compared = core.diff(wanted, live)
for _, _, on in compared:runs() do tostring(on) end
compared:undeclared(relation); wanted:overlaps(compared); wanted:select { unique = true }
local makes = core.views("a thing", { given = true, made = function() return { { 1 } } end }, nil, core.nearest)
local thing = makes { given = { a = { 1 } } }
_ = thing.given.a[1], #thing.made[1]; pcall(function() return thing.mad end)
for _, value in pairs(thing.given) do tostring(value) end
local function shows(from)
  return core.index_views("an index", { more = function() return { 1 } end }, nil, core.nearest, {}, from)
end
local of_both = shows(compared)
for _, view in ipairs { of_both(1, "t"), of_both(index, "t"), shows(wanted)(1, "t") } do
  _ = view.more[1], view.keys[1].column, view.kind, view.include, view.name
end
core.nearest('ab', { 'abc' }); core.writable(1); core.private_file '/dev/null'; pcall(core.editor, print)
coroutine.wrap(function() core.call_while_computing(function() return {} end) for _ = 1, 3e4 do end end)()
core.catch_signals(); core.forget_signal()
local other = core.open 'fake:other'; other:close()
db:query 'left alone'
