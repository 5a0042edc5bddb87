#!lua flags=allow-oom
-- Replaces a delivery's record that is still what it was when read. How two
-- states merge is a rule, and rules are not written here.
--
-- KEYS[1]  string  the document of the delivery
-- KEYS[2]  hash    its deliveries
-- ARGV     field; the record that was read ("" = none); the record to write;
--          seconds that the hash is kept when nothing archives it, else "": the
--          document is an incident, and none is put beside its archive
--
-- Returns 1 written, 0 somebody else was faster.
local field, old, new, keep = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if (redis.call('HGET', KEYS[2], field) or '') ~= old then
  return 0
end
if old == '' and keep == '' and redis.call('GETRANGE', KEYS[1], 19, 19) ~= 'P' then
  return 0
end
redis.call('HSET', KEYS[2], field, new)
if keep ~= '' then
  redis.call('EXPIRE', KEYS[2], keep)
end
return 1
