#!lua flags=allow-oom
-- Changes fields of the last word of a device, and leaves its others as they are.
--
-- KEYS[1]  hash   last words: device to a JSON object
-- ARGV[1]  device
-- ARGV[2]  fields to set, a JSON object
-- ARGV[3]  field that has to be as it was seen, or "" for no such condition
-- ARGV[4]  its value then, as text; "" = absent
--
-- Returns 1 when it was changed, 0 when the condition did not hold.
local patch = cjson.decode(ARGV[2])
local old = redis.call('HGET', KEYS[1], ARGV[1])
local readable, word = pcall(cjson.decode, old or '{}')
if not readable or type(word) ~= 'table' then
  word = {}
end
if ARGV[3] ~= '' and tostring(word[ARGV[3]] or '') ~= ARGV[4] then
  return 0
end
for field, value in pairs(patch) do
  word[field] = value
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(word))
return 1
