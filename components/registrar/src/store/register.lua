-- All changes of one REGISTER or none (RFC 3261 10.3 step 7), on what is really stored.
-- KEYS[1]  {T}:location:<user>, hash: binding key -> JSON
-- ARGV     now_ms, call_id, cseq, most bindings, channel, holder, user, from tag, then per change: put|del, key, JSON, expires_at_ms
-- Returns  "out_of_order" | "too_many" | "ok" and every binding's JSON
local now = tonumber(ARGV[1])
local call_id, cseq, limit, from_tag = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[8]

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
  local tag = before and before.from_tag or ''
  if before and before.call_id == call_id and tonumber(before.cseq) >= cseq and (tag == '' or tag == from_tag) then
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
      or before['local'] ~= after['local'] or before.connection ~= after.connection then
      changed = true
    end
    live[key], texts[key] = after, text
  elseif before then
    live[key], texts[key] = nil, nil
    count, changed = count - 1, true
  end
end
-- The oldest make room for the newest.
local put, others = {}, {}
for i = 9, #ARGV, 4 do put[ARGV[i + 1]] = ARGV[i] == 'put' end
for key, binding in pairs(live) do
  if not put[key] then others[#others + 1] = { tonumber(binding.registered_at_ms or 0), key } end
end
table.sort(others, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
for _, other in ipairs(others) do
  if count <= limit then break end
  expired[#expired + 1] = other[2]
  live[other[2]], texts[other[2]] = nil, nil
  count, changed = count - 1, true
end
if count > limit then return { 'too_many' } end

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
