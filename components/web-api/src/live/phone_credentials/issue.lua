-- Adds short-lived credentials to those of a user; expired ones go, and the oldest beyond the limit.
-- KEYS[1]  {T}:phone-credentials:<user>, hash: id -> JSON
-- ARGV     now_ms, id, JSON, expires_at_ms, most, channel, user
-- Returns  how many there are now
local now, most = tonumber(ARGV[1]), tonumber(ARGV[5])
local others = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local readable, credential = pcall(cjson.decode, all[i + 1])
  local expires = readable and tonumber(credential.expires_at_ms) or 0
  if expires <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[2] then
    others[#others + 1] = { expires, all[i] }
  end
end
table.sort(others, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
for i = 1, #others - most + 1 do redis.call('HDEL', KEYS[1], others[i][2]) end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[6], ARGV[7])
return redis.call('HLEN', KEYS[1])
