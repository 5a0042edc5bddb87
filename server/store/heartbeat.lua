#!lua flags=allow-oom
-- One second of the life of one instance: it says that it lives, forgets who
-- does not, takes and renews the partitions it wants and gives back the others.
--
-- KEYS[1]  hash  members: instance to "last seen, Unix milliseconds (13)" and its description
-- KEYS[2]  hash  leases: partition to "epoch (10)" and its owner
-- ARGV[1]  now, Unix milliseconds, thirteen digits
-- ARGV[2]  the instance
-- ARGV[3]  its description; "" = it leaves
-- ARGV[4]  milliseconds after which a silent member is dead
-- ARGV[5..] partitions that it wants
--
-- Returns {members, leases} as two flat lists of field and value.
-- A lease has no end of its own: it lasts as long as its owner is a member. The
-- epoch rises whenever the owner changes.
local now, me, about, dead = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])

if about == '' then
  redis.call('HDEL', KEYS[1], me)
else
  redis.call('HSET', KEYS[1], me, ARGV[1] .. about)
end

local alive = {}
local members = redis.call('HGETALL', KEYS[1])
for i = 1, #members, 2 do
  if now - tonumber(string.sub(members[i + 1], 1, 13)) > dead then
    redis.call('HDEL', KEYS[1], members[i])
  else
    alive[members[i]] = true
  end
end

local wanted = {}
for i = 5, #ARGV do
  wanted[ARGV[i]] = true
  local lease = redis.call('HGET', KEYS[2], ARGV[i]) or '0000000000'
  local owner = string.sub(lease, 11)
  if owner ~= me and not alive[owner] then
    redis.call('HSET', KEYS[2], ARGV[i], string.format('%010d', tonumber(string.sub(lease, 1, 10)) + 1) .. me)
  end
end

local leases = redis.call('HGETALL', KEYS[2])
for i = 1, #leases, 2 do
  if string.sub(leases[i + 1], 11) == me and not wanted[leases[i]] then
    redis.call('HSET', KEYS[2], leases[i], string.sub(leases[i + 1], 1, 10)) -- the epoch stays
  end
end
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
