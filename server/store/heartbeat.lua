#!lua flags=allow-oom
-- One second of the life of one instance: it says that it lives, forgets who
-- does not, takes and renews the partitions it wants and gives back the others.
--
-- KEYS[1]  hash  members: instance to "last seen, Unix milliseconds (13)" and its description
-- KEYS[2]  hash  leases: partition to "epoch (10)" and its owner
-- KEYS[3]  hash  format: "schema" in which everything is written, "by" which version
--                it was raised, "rising" the next one and since when no older member was seen
-- ARGV[1]  now, Unix milliseconds, thirteen digits
-- ARGV[2]  the instance
-- ARGV[3]  its description; "" = it leaves
-- ARGV[4]  milliseconds after which a silent member is dead
-- ARGV[5]  the newest schema that it reads
-- ARGV[6]  its version
-- ARGV[7]  a schema of which it knows that it is written: a failover may have set it back
-- ARGV[8]  milliseconds for which no older member may have been seen before it rises
-- ARGV[9..] partitions that it wants
--
-- Returns {members, leases, {schema, by, rising}}: two flat lists of field and
-- value, and three fields of the format.
-- A lease has no end of its own: it lasts as long as its owner is a member. The
-- epoch rises whenever the owner changes.
local now, me, about, dead = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])

if about == '' then
  redis.call('HDEL', KEYS[1], me)
else
  redis.call('HSET', KEYS[1], me, ARGV[1] .. about)
end

local alive, lowest = {}, nil
local members = redis.call('HGETALL', KEYS[1])
for i = 1, #members, 2 do
  if now - tonumber(string.sub(members[i + 1], 1, 13)) > dead then
    redis.call('HDEL', KEYS[1], members[i])
  else
    alive[members[i]] = true
    local reads = tonumber(string.match(members[i + 1], '"schema":(%d+)') or '1')
    lowest = math.min(lowest or reads, reads)
  end
end

local reads, known, patience = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
local written = tonumber(redis.call('HGET', KEYS[3], 'schema') or '1')
if known > written then
  written = known
  redis.call('HSET', KEYS[3], 'schema', ARGV[7])
end
if about ~= '' and lowest > written then
  local to, since = string.match(redis.call('HGET', KEYS[3], 'rising') or '', '^(%d+) (%d+)$')
  if tonumber(to) ~= lowest then
    since = ARGV[1]
    redis.call('HSET', KEYS[3], 'rising', lowest .. ' ' .. since)
  end
  if now - tonumber(since) >= patience then
    written = lowest
    redis.call('HSET', KEYS[3], 'schema', lowest, 'by', ARGV[6])
    redis.call('HDEL', KEYS[3], 'rising')
  end
elseif lowest and lowest <= written then
  redis.call('HDEL', KEYS[3], 'rising')
end

local wanted = {}
for i = 9, reads < written and 0 or #ARGV do
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
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2]), redis.call('HMGET', KEYS[3], 'schema', 'by', 'rising')}
