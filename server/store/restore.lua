#!lua flags=allow-oom
-- Brings accepted events back that a failover has lost, under their ids as far
-- as the inbox has not gone past those: a decision about them can be brought
-- back, too, then.
--
-- KEYS[1]   stream  the inbox
-- KEYS[2..] string  marks: that an entry was brought back, and of the senders' event ids
-- ARGV[1]   seconds that the first kind of mark is kept
-- ARGV[2]   seconds that the second kind is kept
-- ARGV[3..] four each: the entry's id; index in KEYS of its first mark, and of its
--           second or 0; the entry
--
-- Returns for each the id that it has now, "" when it was brought back or sent again before.
local ids = {}
for i = 3, #ARGV, 4 do
  local id, back, mark, entry = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), ARGV[i + 3]
  local now = ''
  if redis.call('SET', KEYS[back], '1', 'NX', 'EX', ARGV[1])
    and (mark == 0 or redis.call('SET', KEYS[mark], '1', 'NX', 'EX', ARGV[2])) then
    now = redis.pcall('XADD', KEYS[1], id, 'e', entry)
    if type(now) == 'table' then
      now = redis.call('XADD', KEYS[1], '*', 'e', entry)
    end
  end
  ids[#ids + 1] = now
end
return ids
