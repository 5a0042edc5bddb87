#!lua flags=allow-oom
-- Brings accepted events back that a failover has lost, under their ids and in
-- their places: a decision about them can be brought back, too, then. Instances
-- come in any order, so that what another has brought back may be behind it. In
-- an inbox where much waits already it gets a new id.
--
-- KEYS[1]   stream  the inbox
-- KEYS[2..] string  marks: that an entry was brought back, and of the senders' event ids
-- ARGV[1]   seconds that the first kind of mark is kept
-- ARGV[2]   seconds that the second kind is kept
-- ARGV[3..] four each: the entry's id; index in KEYS of its first mark, and of its
--           second or 0; the entry
--
-- Returns for each the id that it has now, "" when it was brought back or sent again before.
local inbox, most = KEYS[1], 100

local function before(a, b)
  local at, n = string.match(a, '(%d+)-(%d+)')
  local bt, m = string.match(b, '(%d+)-(%d+)')
  at, n, bt, m = tonumber(at), tonumber(n), tonumber(bt), tonumber(m)
  return at < bt or at == bt and n < m
end

local function last()
  local info = redis.call('XINFO', 'STREAM', inbox)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return info[i + 1]
    end
  end
end

-- Makes the inbox anew with the entry in its place: a stream takes nothing before
-- its last id, also when that is taken already.
local function insert(id, entry)
  local waiting = redis.call('XRANGE', inbox, '-', '+', 'COUNT', most + 1)
  if #waiting > most then
    return redis.call('XADD', inbox, '*', 'e', entry)
  end
  local went = last()
  redis.call('DEL', inbox)
  local now
  for _, w in ipairs(waiting) do
    if not now and before(id, w[1]) then
      now = redis.call('XADD', inbox, id, 'e', entry)
    end
    redis.call('XADD', inbox, w[1], unpack(w[2]))
  end
  now = now or redis.call('XADD', inbox, id, 'e', entry)
  redis.call('XSETID', inbox, went)
  return now
end

local ids = {}
for i = 3, #ARGV, 4 do
  local id, back, mark, entry = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  local now = ''
  if redis.call('SET', KEYS[back], '1', 'NX', 'EX', ARGV[1])
    and (mark == 0 or redis.call('SET', KEYS[mark], '1', 'NX', 'EX', ARGV[2])) then
    now = redis.pcall('XADD', inbox, id, 'e', entry)
    if type(now) == 'table' then
      now = insert(id, entry)
    end
  end
  ids[#ids + 1] = now
end
return ids
