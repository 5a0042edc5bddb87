#!lua flags=allow-oom
-- Raises counters that a failover may have set back.
--
-- KEYS  string  the counters
-- ARGV  what each has to be at least
for i = 1, #KEYS do
  if tonumber(redis.call('GET', KEYS[i]) or '0') < tonumber(ARGV[i]) then
    redis.call('SET', KEYS[i], ARGV[i])
  end
end
return 0
