#!lua flags=allow-oom
-- Commits decisions, each of them whole or not at all: every guard of a decision
-- is checked before its first write. What the decisions are, is none of this
-- script's business. They are made in the order in which they are given, each on
-- what those before it left.
--
-- KEYS   the keys of all decisions, in their order
-- ARGV   the decisions, each a MessagePack array:
--   1  number of its keys
--   2  its nonce: a document that already carries it was written by this very
--      decision, whose answer got lost
--   3  its guards, four values each: kind, which of its keys, a, b
--      doc     string  its revision (first ten bytes) is a, and so is the nonce of who
--                      wrote it where a has one behind it; "" = it is not there.
--                      b = "Z": may be archived; else an archived one answers 3
--      rec     hash    the same of the record in field b, without the archive
--      field   hash    field a is b; "" = it is not there
--      fields  hash    has so many fields: a
--      entry   stream  has the entry a
--      absent  any     is not there
--      exists  any     is there
--      take    stream  has the entry a, which is deleted: the last guard, as it writes
--   4  its writes: arrays of a command, which of its keys, arguments
--
-- Returns for each decision
--   {1, id, ...}  committed; the ids of the stream entries, in order
--   {2, k}        guard k found the nonce: was committed before
--   {3, k}        the document of guard k is archived: unpack it
--   {0, k}        guard k missed, nothing was written
--   an error      of a key that holds something else than it should
local call, unpacked = redis.pcall, cmsgpack.unpack

-- New members of sorted sets are put in at the end, those of one set together:
-- nothing here reads sorted sets, and a busy partition adds to the same ones with
-- every decision.
local results, later, sets = {}, {}, {}

local function failed(reply)
  return type(reply) == 'table' and reply.err
end

local function add(key, write, decision)
  local set = later[key]
  if not set then
    set = {add = {'ZADD', key}, of = {}}
    later[key] = set
    sets[#sets + 1] = set
  end
  for i = 3, #write do
    set.add[#set.add + 1] = write[i]
  end
  set.of[#set.of + 1] = decision
end

local function put(set)
  local reply = call(unpack(set.add))
  if failed(reply) then
    for _, decision in ipairs(set.of) do
      results[decision] = reply
    end
  end
end

-- Returns nil when the guard holds, else the result of the decision.
local function miss(k, kind, key, a, b, nonce)
  local reply, holds
  if kind == 'doc' or kind == 'rec' then
    if kind == 'doc' then
      reply = call('GETRANGE', key, 0, 27)
    else
      reply = call('HGET', key, b) or ''
    end
    if failed(reply) then
      return reply
    end
    if reply ~= '' and string.sub(reply, 21, 28) == nonce then
      return {2, k}
    end
    holds = string.sub(reply, 1, 10) == string.sub(a, 1, 10) and (#a <= 10 or string.sub(reply, 21, 28) == string.sub(a, 11))
    if holds and kind == 'doc' and b ~= 'Z' and string.sub(reply, 20, 20) == 'Z' then
      return {3, k}
    end
  elseif kind == 'field' then
    reply = call('HGET', key, a)
    holds = (reply or '') == b
  elseif kind == 'fields' then
    reply = call('HLEN', key)
    holds = reply == tonumber(a)
  elseif kind == 'take' then
    reply = call('XDEL', key, a)
    holds = reply == 1
  elseif kind == 'entry' then
    reply = call('XRANGE', key, a, a)
    holds = #reply == 1
  elseif kind == 'absent' then
    holds = call('EXISTS', key) == 0
  elseif kind == 'exists' then
    holds = call('EXISTS', key) == 1
  end
  if failed(reply) then
    return reply
  end
  if not holds then
    return {0, k}
  end
end

local function decide(base, decision, nonce, guards, writes)
  for i = 1, #guards, 4 do
    local result = miss((i + 3) / 4, guards[i], KEYS[base + guards[i + 1]], guards[i + 2], guards[i + 3], nonce)
    if result then
      return result
    end
  end
  local result = {1}
  for i = 1, #writes do
    local write = writes[i]
    local command, key = write[1], KEYS[base + write[2]]
    if command == 'ZADD' and #write == 4 and tonumber(write[3]) then
      add(key, write, decision)
    else
      -- What is put in before it comes first; and a ZADD with a condition, such as
      -- XX, must not lend it to the members of others.
      if (command == 'ZREM' or command == 'ZADD') and later[key] then
        put(later[key])
        later[key].add = nil
        later[key] = nil
      end
      write[2] = key
      local reply = call(unpack(write))
      if failed(reply) then
        return reply
      end
      if command == 'XADD' then
        result[#result + 1] = reply
      end
    end
  end
  return result
end

local base = 0
for i = 1, #ARGV do
  local plan = unpacked(ARGV[i])
  results[i] = decide(base, i, plan[2], plan[3], plan[4])
  base = base + plan[1]
end
for _, set in ipairs(sets) do
  if set.add then
    put(set)
  end
end
return results
