-- The inside of the sandbox: what its code may call, and what a call may cost. Run once for each state by sandbox.py.
--
-- Two things end code that runs long. A hook looks at the instructions and the processor time of a call; it runs
-- between instructions. Within one instruction there are only C functions and operators, so none of them may be long:
-- a function is either listed below as one whose work is in proportion to its arguments, or it is replaced by one that
-- bounds them. What is in neither list is removed. Long arguments are bounded by looking closer: see `look`.

local py_matches, max_instructions, max_seconds, every, max_items, max_steps = ...
local sethook, clock, getinfo = debug.sethook, os.clock, debug.getinfo
local load, setmetatable, getmetatable, collect = load, setmetatable, getmetatable, collectgarbage
local error, type, next, pairs, byte = error, type, next, pairs, string.byte

-- The time of one operator or plain function grows with the texts it gets, up to tens of milliseconds for the longest
-- ones. So with more than a little in memory the hook comes after a few instructions. It hears of that from the
-- collector: the finalizer of an object that nothing refers to runs in each of its cycles, and a heap that grows has
-- cycles.
local CLOSE, LITTLE_KILOBYTES = 5, 4096
-- A look may also come before a new call has said that it is one (`enter`, some instructions after its begin). So what
-- is over its budget is told so at the second look, if it is the same call still.
local ENTERED = 10
local calls, seen, spent, started, pace, warned = 1, 0, 0, 0, every, 0
local function look()
  if seen ~= calls then seen, spent, started = calls, 0, clock() end
  spent = spent + pace
  local over = spent > max_instructions or clock() - started > max_seconds
  if over and warned == calls then
    seen = 0 -- nothing can catch it: this call is over
    error("it runs too long", 0)
  end
  local wanted = every
  if over then warned, wanted = calls, ENTERED
  elseif pace ~= every and collect("count") > LITTLE_KILOBYTES then wanted = CLOSE end
  if pace ~= wanted then
    pace = wanted
    sethook(look, "", pace)
  end
end

local herald = {}
function herald.__gc()
  pace = 1
  sethook(look, "", 1)
  setmetatable({}, herald)
end

-- Their work is in proportion to what they get and give.
local plain = {
  string = { "byte", "char", "format", "len", "lower", "reverse", "sub", "upper" },
  table = { "pack" },
  math = {
    "abs", "acos", "asin", "atan", "ceil", "cos", "deg", "exp", "floor", "fmod", "log", "max", "min", "modf", "rad",
    "random", "sin", "sqrt", "tan", "tointeger", "type", "ult",
  },
  utf8 = { "char", "codepoint", "codes", "len", "offset" },
}
local bounded = { string = {}, table = {} }

local rep, find, match, gmatch, gsub = string.rep, string.find, string.match, string.gmatch, string.gsub
local MAX_TEXT = 1048576
function bounded.string.rep(s, n, sep)
  local size = #s + (sep and #sep or 0)
  if n > 0 and (n > MAX_TEXT or size * n > MAX_TEXT) then error("string.rep: the text would be too long", 2) end
  return rep(s, n, sep)
end

-- A Lua pattern backtracks: an item that repeats and has something behind it that can fail is tried with each number
-- of characters, and so is each place to begin. k of these choose among at most C(n + k, k) ways through n characters,
-- "?" doubles them, and one way costs at most the length of the pattern.
local REMEMBERED, MAX_PATTERN = 256, 1000
local remembered, repeats, ways = 0, {}, {} -- pattern -> how many items repeat; -> cost of the rest
local function analyse(p)
  local size = #p
  if size > MAX_PATTERN then error("the pattern is too long", 4) end
  local at, open, last, twos = 1, 0, 0, 0
  while at <= size do
    local c = byte(p, at)
    local single = true
    if c == 37 then -- %
      local class = byte(p, at + 1)
      if class == 98 then at, open, single = at + 4, open + 1, false -- %bxy
      elseif class == 102 then at, single = at + 2, false -- %f and a set, which comes next
      else
        if class and class >= 48 and class <= 57 then open, single = open + 1, false end -- %1
        at = at + 2
      end
    elseif c == 91 then -- a set; its first character may be ]
      at = at + 1
      if byte(p, at) == 94 then at = at + 1 end
      repeat
        if byte(p, at) == 37 then at = at + 1 end
        at = at + 1
      until at > size or byte(p, at) == 93
      at = at + 1
    else
      single = c ~= 40 and c ~= 41 -- ( )
      at = at + 1
    end
    if single then
      local q = byte(p, at)
      if q == 42 or q == 43 or q == 45 then open, last, at = open + 1, at, at + 1 -- * + -
      elseif q == 63 then twos, at = twos + 1, at + 1 end
    end
  end
  if last > 0 and not find(p, "[^)]", last + 1) then open = open - 1 end -- nothing behind it can fail
  if remembered == REMEMBERED then remembered, repeats, ways = 0, {}, {} end
  remembered = remembered + 1
  repeats[p], ways[p] = open, (size + 1) * 2.0 ^ twos
end
local function weigh(s, p, anchors)
  if type(s) ~= "string" or type(p) ~= "string" then return end
  local k = repeats[p]
  if k == nil then
    analyse(p)
    k = repeats[p]
  end
  local n, cost = #s, ways[p]
  if not (anchors and byte(p) == 94) then k = k + 1 end
  for i = 1, k do cost = cost * (n + i) / i end
  if cost > max_steps then
    error("this pattern could take too long on a text of " .. n .. " bytes; use matches(text, pattern)", 3)
  end
end
local most_plainly = 16 * max_steps -- memcmp
function bounded.string.find(s, p, init, plainly)
  if not plainly then weigh(s, p, true)
  elseif #(s .. "") * #(p .. "") > most_plainly then error("string.find: both texts are too long", 2) end
  return find(s, p, init, plainly)
end
function bounded.string.match(s, p, init) weigh(s, p, true) return match(s, p, init) end
function bounded.string.gmatch(s, p, init) weigh(s, p, false) return gmatch(s, p, init) end
function bounded.string.gsub(s, p, r, n)
  weigh(s, p, true)
  if type(r) == "string" and type(s) == "string" and #r * #s > max_steps then
    local _, captures = gsub(r, "%%", "")
    if captures * #s > max_steps then error("string.gsub: the replacement is too long", 2) end
  end
  return gsub(s, p, r, n)
end

-- A table with holes may have any length, 2^62 too, whatever there is in it.
local concat, insert, remove, sort, unpack = table.concat, table.insert, table.remove, table.sort, table.unpack
local function too_long(name) error("table." .. name .. ": more than " .. max_items .. " items", 3) end
function bounded.table.insert(t, ...)
  if #t > max_items then too_long("insert") end
  return insert(t, ...)
end
function bounded.table.remove(t, ...)
  if #t > max_items then too_long("remove") end
  return remove(t, ...)
end
function bounded.table.concat(t, sep, i, j)
  if (j or #t) - (i or 1) >= max_items then too_long("concat") end
  return concat(t, sep, i, j)
end
function bounded.table.unpack(t, i, j)
  i, j = i or 1, j or #t
  if j - i >= 1000 then error("table.unpack: more than 1000 items", 2) end
  return unpack(t, i, j)
end
function bounded.table.sort(t, before)
  local n = #t
  if n > max_items then too_long("sort") end
  if before ~= nil then
    if type(before) == "function" and getinfo(before, "S").what == "C" then -- the hook runs in Lua code only
      local given = before
      before = function(a, b) return given(a, b) end
    end
  elseif type(t[1]) == "string" then
    local longest = 0
    for i = 2, n do
      local size = #(t[i] .. "")
      if size > longest then longest = size end
    end
    if longest * n > max_steps / 64 then before = function(a, b) return a < b end end
  end
  return sort(t, before)
end

local libraries = { string = string, table = table, math = math, utf8 = utf8 }
for name, library in pairs(libraries) do -- in place: ("x"):rep(n) finds its function through the metatable of texts
  local allowed = bounded[name] or {}
  for _, key in pairs(plain[name]) do allowed[key] = library[key] end
  for key, value in pairs(library) do
    if type(value) == "function" then library[key] = allowed[key] end
  end
end

local null, array, number = {}, {}, 0
local public = {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, select = select, tonumber = tonumber,
  tostring = tostring, type = type, string = string, table = table, math = math, utf8 = utf8, null = null,
  count = function() return number end,
  array = function(t) return setmetatable(t or {}, array) end,
  matches = function(text, pattern) return type(text) == "string" and py_matches(text, pattern) end,
}
local fallback = { __index = public }
local functions = {} -- by the name that code calls it by
for name, value in pairs(public) do
  if type(value) == "function" then functions[name] = value end
  if libraries[name] then
    for key, inner in pairs(value) do
      if type(inner) == "function" then functions[name .. "." .. key] = inner end
    end
  end
end
local function enter(n) calls = calls + 1; number = n end

-- Each of these begins a call of its own for the hook.
local made = { null = null, functions = functions, collect = function() enter(0) collect() end }
function made.mark(t) enter(0) return setmetatable(t, array) end
function made.kind(t)
  enter(0)
  if t == null then return 0 elseif getmetatable(t) == array then return 1 end
  return 2
end
function made.expression(source, name)
  enter(0)
  local chunk, problem = load(source, "=" .. name, "t", setmetatable({}, fallback))
  if not chunk then return nil, problem end
  return chunk(enter)
end
function made.script(source, name)
  enter(0)
  local globals = setmetatable({}, fallback)
  local chunk, problem = load(source, "=" .. name, "t", globals)
  if not chunk then return nil, problem end
  return function(n, event)
    enter(n)
    for key in next, globals do globals[key] = nil end
    globals.event = event
    local result = chunk()
    if result == nil then return globals.event end
    return result
  end
end
setmetatable({}, herald)
sethook(look, "", every)
return made
