-- All changes of one REGISTER or none (RFC 3261 10.3 step 7), on what is really stored.
-- KEYS[1]  {T}:location:<user>, hash: binding key -> JSON
-- ARGV     now_ms, call_id, cseq, most bindings, channel, holder, user, from_tag, then per change: put|del, key, JSON, expires_at_ms
-- Returns  "out_of_order" | "too_many" | "ok" and every binding's JSON
local now = tonumber(ARGV[1])
local call_id, cseq, limit = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local live, texts, expired, count = {}, {}, {}, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local readable, binding = pcall(cjson.decode, all[i + 1])
  if readable and type(binding) == 'table' and tonumber(binding.expires_at_ms or 0) > now then
    live[all[i]] = binding
    texts[all[i]] = all[i + 1]
    count = count + 1
  else
    expired[#expired + 1] = all[i]
  end
end

for i = 9, #ARGV, 4 do
  local before = live[ARGV[i + 1]]
  local other_life = before and before.from_tag and before.from_tag ~= ARGV[8]
  if before and before.call_id == call_id and not other_life and tonumber(before.cseq) >= cseq then
    return { 'out_of_order' }
  end
end

local changed = #expired > 0
for i = 9, #ARGV, 4 do
  local key, text = ARGV[i + 1], ARGV[i + 2]
  local before = live[key]
  if ARGV[i] == 'put' then
    local after = cjson.decode(text)
    if not before then count = count + 1 end
    if not before or before.contact ~= after.contact or before.peer ~= after.peer
      or before.connection ~= after.connection or before['local'] ~= after['local'] then
      changed = true
    end
    live[key], texts[key] = after, text
  elseif before then
    live[key], texts[key] = nil, nil
    count, changed = count - 1, true
  end
end
-- The newest replaces the one that expires first; a request that alone holds too many changes nothing.
local put = {}
for i = 9, #ARGV, 4 do put[ARGV[i + 1]] = true end
while count > limit do
  local oldest
  for key, binding in pairs(live) do
    if not put[key] then
      local at = tonumber(binding.expires_at_ms)
      local least = oldest and tonumber(live[oldest].expires_at_ms)
      if not oldest or at < least or (at == least and key < oldest) then oldest = key end
    end
  end
  if not oldest then return { 'too_many' } end
  live[oldest], texts[oldest] = nil, nil
  expired[#expired + 1] = oldest
  count, changed = count - 1, true
end

for _, key in ipairs(expired) do redis.call('HDEL', KEYS[1], key) end
for i = 9, #ARGV, 4 do
  if ARGV[i] == 'put' and texts[ARGV[i + 1]] == ARGV[i + 2] then
    redis.call('HSET', KEYS[1], ARGV[i + 1], ARGV[i + 2])
  elseif not texts[ARGV[i + 1]] then
    redis.call('HDEL', KEYS[1], ARGV[i + 1])
  end
end

local answer, last = { 'ok' }, 0
for key, binding in pairs(live) do
  answer[#answer + 1] = texts[key]
  last = math.max(last, tonumber(binding.expires_at_ms))
end
if last > 0 then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', last)) end
if changed then redis.call('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. ARGV[7]) end
return answer
