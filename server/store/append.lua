#!lua
-- Appends accepted events to inboxes. The one script that is refused at full
-- memory: nothing is accepted that cannot be kept.
--
-- KEYS     for each call: the inbox, a stream; then marks of the senders' event ids, strings
-- ARGV[1]  most entries that may wait in an inbox
-- ARGV[2]  seconds that a mark is kept after the last event with its id
-- ARGV[3..] for each call: number of its keys, number of its entries; of an only
--          entry, which of its keys is the hash of dedup keys, else 0, and its
--          dedup key; then two for each entry: which of the keys is its mark, or 0;
--          the entry
--
-- Returns for each call the ids of the entries, "" for those left out because of
-- their mark, or -1 when the inbox is too full for all of them, and then none is
-- appended. Behind the id of an only entry that nothing waits before: where its
-- dedup key leads, "" for nowhere.
local limit, kept = tonumber(ARGV[1]), ARGV[2]

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

local function append(base, at, n, keys, key)
  local inbox = KEYS[base + 1]
  local waiting = redis.pcall('XLEN', inbox)
  if failed(waiting) then
    return waiting
  end
  if waiting + n > limit then
    return -1
  end
  local ids = {}
  for i = at, at + 2 * n - 1, 2 do
    local mark = tonumber(ARGV[i])
    local id = ''
    if mark == 0 or redis.call('SET', KEYS[base + mark], '1', 'NX', 'EX', kept) then
      id = redis.call('XADD', inbox, '*', 'e', ARGV[i + 1])
    else
      -- A write, as a WAIT behind it waits for the connection's last one (Redis
      -- 7.2): the first try may be on this machine only, and came by another.
      redis.call('EXPIRE', KEYS[base + mark], kept)
    end
    ids[#ids + 1] = id
  end
  if waiting == 0 and keys > 0 and ids[1] ~= '' then
    local leads = redis.pcall('HGET', KEYS[base + keys], key)
    if not failed(leads) then
      ids[2] = leads or ''
    end
  end
  return ids
end

local replies, at, base = {}, 3, 0
while at <= #ARGV do
  local keys, n = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  replies[#replies + 1] = append(base, at + 4, n, tonumber(ARGV[at + 2]), ARGV[at + 3])
  at, base = at + 4 + 2 * n, base + keys
end
return replies
