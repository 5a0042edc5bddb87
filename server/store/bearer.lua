#!lua flags=allow-oom
-- Keeps a provider token unless a newer one is kept, and tells the newest.
--
-- KEYS[1]  string  "issued, Unix seconds (10)" and the sealed token
-- ARGV[1]  when the offered token was issued, Unix seconds, ten digits
-- ARGV[2]  the offered token, sealed
-- ARGV[3]  milliseconds that it is kept
--
-- Returns the newest, in the form of KEYS[1]. Of two that were issued in the
-- same second the first stays: they are the same token.
local kept = redis.call('GET', KEYS[1])
if kept and string.sub(kept, 1, 10) >= ARGV[1] then
  return kept
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return ARGV[1] .. ARGV[2]
