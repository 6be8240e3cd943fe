-- What wrk asks: one body; with LOAD_SLOT a body with a number drawn for each request; with LOAD_LINES
-- a file of bodies by turns, each with white space in front that no request had before.
local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local SLOT = "@@@@@@@@"
local count = tonumber(os.getenv("LOAD_SLOT") or "0")
local lines = os.getenv("LOAD_LINES") == "1"
local text = read(os.getenv("LOAD_BODY"))
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer sk-bench"

local requests, turn = {}, 0
-- A counter in base 4, written in the four kinds of white space.
local BLANKS = { [0] = " ", [1] = "\t", [2] = "\n", [3] = "\r" }
local WIDTH = 16

local function blanks(number)
  local digits = {}
  for i = 1, WIDTH do
    digits[i] = BLANKS[number % 4]
    number = math.floor(number / 4)
  end
  return table.concat(digits)
end

function init()
  if count > 0 then
    local whole = wrk.format(nil, nil, nil, text)
    local from, to = whole:find(SLOT, 1, true)
    requests = { whole:sub(1, from - 1), whole:sub(to + 1) }
    math.randomseed(os.time())
  elseif lines then
    for body in text:gmatch("[^\n]+") do
      local whole = wrk.format(nil, nil, nil, string.rep(" ", WIDTH) .. body)
      local _, head = whole:find("\r\n\r\n", 1, true)
      requests[#requests + 1] = { whole:sub(1, head), body }
    end
    -- Where the run before this one did not get to.
    turn = tonumber(os.getenv("LOAD_TURN"))
  else
    requests[1] = wrk.format(nil, nil, nil, text)
  end
end

function request()
  if count > 0 then
    return requests[1] .. string.format("%08d", math.random(0, count - 1)) .. requests[2]
  elseif lines then
    turn = turn + 1
    local each = requests[turn % #requests + 1]
    return each[1] .. blanks(turn) .. each[2]
  end
  return requests[1]
end

function done(summary, latency)
  local errors = summary.errors
  local bad = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format('\nJSON {"requests":%d,"us":%d,"bad":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, bad, latency:percentile(50), latency:percentile(99)))
end
