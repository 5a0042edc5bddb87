#!lua flags=allow-oom
-- Notes how far the inbox of one partition had come when a server became its
-- master: whatever has a later id and was written before is lost there.
--
-- Every instance asks before it writes to that inbox for the first time, so the
-- one that asks first sees the stream as the server took it over.
--
-- KEYS[1]  stream  the inbox
-- KEYS[2]  string  incarnation of the server, blank, last id of the inbox
-- ARGV[1]  incarnation of the server now
--
-- Returns the last id of the inbox when this incarnation began.
local incarnation = ARGV[1]
local noted = redis.call('GET', KEYS[2])
if noted and string.sub(noted, 1, #incarnation + 1) == incarnation .. ' ' then
  return string.sub(noted, #incarnation + 2)
end
local last = '0-0'
if redis.call('EXISTS', KEYS[1]) == 1 then
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      last = info[i + 1]
    end
  end
end
redis.call('SET', KEYS[2], incarnation .. ' ' .. last)
return last
