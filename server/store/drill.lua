#!lua flags=allow-oom
-- Keeps a fire drill, if what is kept of it is what the caller has read.
--
-- KEYS[1]  hash  drill to "its revision (10)" and the drill
-- KEYS[2]  zset  all drills by beginning, ms
-- KEYS[3]  zset  those of its person by beginning, ms
-- KEYS[4]  zset  those that are not over by beginning, ms
-- ARGV[1]  id
-- ARGV[2]  revision that the caller read, ten digits, or "" for none
-- ARGV[3]  revision after it, and the drill
-- ARGV[4]  beginning, ms
-- ARGV[5]  "1" when it is not over
--
-- Returns 1 when it is kept, 0 when something else was there.
local kept = redis.call('HGET', KEYS[1], ARGV[1])
local revision = ''
if kept then
  revision = string.sub(kept, 1, 10)
end
if revision ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
if ARGV[5] == '1' then
  redis.call('ZADD', KEYS[4], ARGV[4], ARGV[1])
else
  redis.call('ZREM', KEYS[4], ARGV[1])
end
return 1
