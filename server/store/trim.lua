#!lua flags=allow-oom
-- Trims the old end of a stream and remembers how far, so that a reader whose
-- position lies before that learns that it has missed something.
--
-- KEYS[1]  stream
-- KEYS[2]  hash   field "low:" .. the stream's short name: id of the last entry trimmed
-- ARGV[1]  the field
-- ARGV[2]  entries with a lower id go; "" = none by age
-- ARGV[3]  most entries that stay; 0 = any number
--
-- Returns how many were trimmed.
local first = ARGV[2]
local length = redis.call('XLEN', KEYS[1])
local most = tonumber(ARGV[3])
local last
if first ~= '' then
  last = redis.call('XREVRANGE', KEYS[1], '(' .. first, '-', 'COUNT', 1)[1]
end
if most > 0 and length > most then
  local surplus = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', math.min(length - most, 1000))
  local by_count = surplus[#surplus]
  if not last then
    last = by_count
  end
end
if not last then
  return 0
end
local trimmed = redis.call('XTRIM', KEYS[1], 'MINID', '=', last[1])
trimmed = trimmed + redis.call('XDEL', KEYS[1], last[1])
redis.call('HSET', KEYS[2], ARGV[1], last[1])
return trimmed
