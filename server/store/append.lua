#!lua
-- Appends accepted events to the inbox of one partition. The one script that is
-- refused at full memory: nothing is accepted that cannot be kept.
--
-- KEYS[1]   stream  the inbox
-- KEYS[2..] string  marks of the senders' event ids
-- ARGV[1]   most entries that may wait
-- ARGV[2]   seconds that a mark is kept after the last event with its id
-- ARGV[3..] two each: index of the entry's mark in KEYS or 0; the entry
--
-- Returns the ids of the entries, "" for those left out because of their mark, or
-- -1 when the inbox is too full for all of them, and then none is appended.
local n = (#ARGV - 2) / 2
if redis.call('XLEN', KEYS[1]) + n > tonumber(ARGV[1]) then
  return -1
end
local ids = {}
for i = 3, #ARGV, 2 do
  local mark = tonumber(ARGV[i])
  local id = ''
  if mark == 0 or redis.call('SET', KEYS[mark], '1', 'NX', 'EX', ARGV[2]) then
    id = redis.call('XADD', KEYS[1], '*', 'e', ARGV[i + 1])
  else
    -- A write, as a WAIT behind it waits for the connection's last one (Redis
    -- 7.2): the first try may be on this machine only, and came by another.
    redis.call('EXPIRE', KEYS[mark], ARGV[2])
  end
  ids[#ids + 1] = id
end
return ids
