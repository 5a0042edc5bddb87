#!lua flags=allow-oom
-- Whose turn is it at a round-robin level? Asking again for the same incident
-- gives the same answer.
--
-- KEYS[1]  string  who had the last turn
-- KEYS[2]  string  the incident's claim
-- ARGV[1]  seconds that the claim is kept; 0: nobody claims, the turn is only looked at
-- ARGV[2..] the members in their order, at least one
--
-- Returns the member. One that has left since it was claimed is claimed anew.
local claimed = redis.call('GET', KEYS[2])
local last = redis.call('GET', KEYS[1])
local next = 2
for i = 2, #ARGV do
  if ARGV[i] == claimed then
    return claimed
  end
  if ARGV[i] == last then
    next = i + 1
  end
end
if next > #ARGV then
  next = 2
end
if ARGV[1] ~= '0' then
  redis.call('SET', KEYS[1], ARGV[next])
  redis.call('SET', KEYS[2], ARGV[next], 'EX', ARGV[1])
end
return ARGV[next]
