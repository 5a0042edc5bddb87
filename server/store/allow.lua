#!lua flags=allow-oom
-- One write command, also at full memory.
--
-- KEYS[1]  the key
-- ARGV[1]  the command, then its arguments behind the key
--
-- Returns what the command returns.
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
