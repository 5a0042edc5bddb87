#!lua flags=allow-oom
-- Commits one decision, or nothing of it: every guard is checked before the
-- first write. What the decision is, is none of this script's business.
--
-- KEYS      the keys of one partition that ARGV refers to, by index
-- ARGV[1]   nonce of this commit: a document that already carries it was
--           written by this very commit, whose answer got lost
-- ARGV[2]   number of guards, then four arguments each: kind, key index, a, b
--   doc     string  its revision (first ten bytes) is a; "" = it is not there.
--                   b = "Z": may be archived; else an archived one answers 3
--   rec     hash    the same of the record in field b, without the archive
--   field   hash    field a is b; "" = it is not there
--   entry   stream  has the entry a
--   absent  any     is not there
--   exists  any     is there
-- then the writes, each: command, key index, number of arguments, arguments
--
-- Returns {1, id, ...}  committed; the ids of the stream entries, in order
--         {2, k}        guard k found the nonce: was committed before
--         {3, k}        the document of guard k is archived: unpack it
--         {0, k}        guard k missed, nothing was written
local nonce, guards = ARGV[1], tonumber(ARGV[2])
local at = 3

for k = 1, guards do
  local kind, key, a, b = ARGV[at], KEYS[tonumber(ARGV[at + 1])], ARGV[at + 2], ARGV[at + 3]
  at = at + 4
  local holds
  if kind == 'doc' or kind == 'rec' then
    local head
    if kind == 'doc' then
      head = redis.call('GETRANGE', key, 0, 27)
    else
      head = redis.call('HGET', key, b) or ''
    end
    if head ~= '' and string.sub(head, 21, 28) == nonce then
      return {2, k}
    end
    holds = string.sub(head, 1, 10) == a
    if holds and kind == 'doc' and b ~= 'Z' and string.sub(head, 20, 20) == 'Z' then
      return {3, k}
    end
  elseif kind == 'field' then
    holds = (redis.call('HGET', key, a) or '') == b
  elseif kind == 'entry' then
    holds = #redis.call('XRANGE', key, a, a) == 1
  elseif kind == 'absent' then
    holds = redis.call('EXISTS', key) == 0
  elseif kind == 'exists' then
    holds = redis.call('EXISTS', key) == 1
  end
  if not holds then
    return {0, k}
  end
end

local result = {1}
while at <= #ARGV do
  local command, key, n = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2])
  local reply = redis.call(command, key, unpack(ARGV, at + 3, at + 2 + n))
  if command == 'XADD' then
    result[#result + 1] = reply
  end
  at = at + 3 + n
end
return result
