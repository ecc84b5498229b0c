-- Removes a binding that expired or lost its connection, unless a newer REGISTER took its place.
-- KEYS[1]  {T}:location:<user>
-- ARGV     key, call_id, cseq, channel, holder, user
-- Returns  0 it was gone, 1 removed, 2 a newer one is there
local text = redis.call('HGET', KEYS[1], ARGV[1])
if not text then return 0 end
local readable, binding = pcall(cjson.decode, text)
if readable and (binding.call_id ~= ARGV[2] or tonumber(binding.cseq) ~= tonumber(ARGV[3])) then return 2 end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. ARGV[6])
return 1
