#!lua flags=allow-oom
-- Records how sends ended whose records are what they were when they began.
-- Whatever was said of one meanwhile has to be merged, and rules are not written
-- here.
--
-- KEYS[i]         hash  the deliveries of a document
-- ARGV[3i-2..3i]  field; the beginning of its record since the attempt: state (2)
--                 and instant (13); the record to write
--
-- Returns for each: 1 written, 0 something was said of it meanwhile.
local results = {}
for i = 1, #KEYS do
  local field, begun, record = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  local old = redis.call('HGET', KEYS[i], field)
  if old and string.sub(old, 1, 15) == begun then
    redis.call('HSET', KEYS[i], field, record)
    results[i] = 1
  else
    results[i] = 0
  end
end
return results
