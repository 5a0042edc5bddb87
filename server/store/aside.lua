#!lua flags=allow-oom
-- Moves timers, each only when it is where it was seen: a commit that came
-- first has set it right already.
--
-- KEYS[1]  zset   timers of the partition
-- ARGV     member, score as seen, new score; repeated
--
-- Returns how many were moved.
local moved = 0
for i = 1, #ARGV, 3 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i])) == tonumber(ARGV[i + 1]) then
    redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
    moved = moved + 1
  end
end
return moved
