#!lua flags=allow-oom
-- Replaces delivery records that are still what they were when read. How two
-- states merge is a rule, and rules are not written here.
--
-- KEYS[i]         hash  the deliveries of a document
-- ARGV[3i-2..3i]  field, the record that was read ("" = none), the record to write
--
-- Returns for each: 1 written, 0 somebody else was faster.
local results = {}
for i = 1, #KEYS do
  local field, old, new = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
  if (redis.call('HGET', KEYS[i], field) or '') == old then
    redis.call('HSET', KEYS[i], field, new)
    results[i] = 1
  else
    results[i] = 0
  end
end
return results
