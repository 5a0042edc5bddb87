#!lua flags=allow-oom
-- Begins pages: the last look before a provider is called. An acknowledgement
-- that was committed before this script lets none of the incident's pages go.
--
-- An incident that is archived, or gone, has no records of deliveries beside it:
-- what still goes out for it, such as a card that is taken back, is not written
-- here. Nobody is held off from such a page; its end is put into the archive.
--
-- KEYS[1..]  three for each page:
--            string  the document, whose prefix has the generation, and whether it is archived
--            hash    the deliveries of the document
--            string  leads from the delivery to the document
-- ARGV[1]    now, Unix milliseconds
-- ARGV[2]    milliseconds after which a send whose outcome is unknown is done again
-- ARGV[3]    seconds that a delivery can be found by its id
-- ARGV[4]    first state that is final
-- ARGV[5..]  five for each page: generation (six digits) or "" = unguarded; field of the delivery;
--            its record, prefix included; name of the document; 1 = keep the hash for that long only
--
-- A record begins with its state (2), the attempt (13, Unix milliseconds) and the nonce
-- of who makes it (8): whoever asks again finds his own attempts. A call that comes
-- late does not set back what a later one of his has written.
-- Returns for each page: 1 go, 2 the incident moved on, 3 being sent by somebody, 4 has its end,
-- 5 go, with no record of it beside the document.
local now, redo, keep, final = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local results = {}
local arg = 5
for k = 1, #KEYS, 3 do
  local generation, field, record, name, expire = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3], ARGV[arg + 4]
  arg = arg + 5
  local verdict, about, encoding = 1, '', 'P'
  if expire ~= '1' then
    about = redis.call('GETRANGE', KEYS[k], 10, 19) -- generation (6), status (1), schema (2), encoding (1)
    encoding = string.sub(about, 10)
  end
  if generation ~= '' and string.sub(about, 1, 6) ~= generation then
    verdict = 2
  else
    local old = redis.call('HGET', KEYS[k + 1], field)
    if old then
      if tonumber(string.sub(old, 1, 2)) >= final then
        verdict = 4
      elseif string.sub(old, 16, 23) ~= string.sub(record, 16, 23) then
        if now - tonumber(string.sub(old, 3, 15)) < redo then
          verdict = 3
        end
      elseif string.sub(old, 3, 15) > string.sub(record, 3, 15) then
        record = old
      end
    end
  end
  if verdict == 1 then
    if encoding == 'P' then
      redis.call('HSET', KEYS[k + 1], field, record)
    else
      verdict = 5
    end
    if encoding ~= '' then
      redis.call('SET', KEYS[k + 2], name, 'EX', keep)
    end
    if expire == '1' then
      redis.call('EXPIRE', KEYS[k + 1], keep)
    end
  end
  results[#results + 1] = verdict
end
return results
