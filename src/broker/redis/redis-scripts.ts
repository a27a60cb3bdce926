import { entryLimits } from './redis-entry.ts';

/** A Lua script with one key, the cluster's. */
export interface RedisScript {
  readonly name: string;
  readonly lua: string;
}

/** The first item of every script's answer. The second item is Redis's time in milliseconds. */
export const ScriptStatus = { late: -1, fenced: 0, done: 1 } as const;

// The key of a cluster is a hash. Its field `epoch` is the highest epoch of any claim in this
// cluster. Every other field is a tunnel with `<epoch> <expiry> <holder> <claim as JSON>`. A
// released claim stays as a tombstone with `-` instead of the JSON, so that a stale owner cannot
// claim again after a newer claim was released.
//
// All times are Redis's own, so the clocks of replicas need not agree.
const prelude = `
local key, sentAt, maxAgeMs = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The sender has timed out, and acts as if the command had failed.
if now - sentAt > maxAgeMs then return {${ScriptStatus.late}, now} end

local function digits(number) return string.format('%.0f', number) end

local function parse(value)
  if not value or #value > ${entryLimits.maxEntryBytes} then return nil end
  local epoch, expiry, holder = string.match(value, '^(%d+) (%d+) (%w+) ')
  if not epoch or #epoch > 15 or #expiry > 15 then return nil end
  return tonumber(epoch), tonumber(expiry), holder
end
`;

const writing = `
local field, holder, channel, retentionMs = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])

-- Another program has stored something else under our key.
local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end

local counter = redis.call('HGET', key, 'epoch')
counter = counter and #counter <= 15 and string.match(counter, '^%d+$') and tonumber(counter) or 0
local stored = redis.call('HGET', key, field)
local storedEpoch, _, storedHolder = parse(stored)

local function write(epoch, ttlMs, claim)
  local value = digits(epoch) .. ' ' .. digits(now + ttlMs) .. ' ' .. holder .. ' ' .. claim
  redis.call('HSET', key, field, value, 'epoch', digits(math.max(counter, epoch)))
  redis.call('PEXPIRE', key, retentionMs)
end

-- A change is valid even if it may not be published. Then the error is another item of the answer.
local function notify()
  local published = redis.pcall('PUBLISH', channel, holder .. ' ' .. string.match(key, '{(.*)}') .. ' ' .. field)
  return type(published) == 'table' and published.err or nil
end
`;

const sweeping = `
local function sweep(field)
  local _, expiry = parse(redis.call('HGET', key, field))
  if expiry and expiry <= now then redis.call('HDEL', key, field) end
end
`;

export const redisScripts = {
  /**
   * Makes a new claim. Its epoch is above every earlier epoch, and not below Redis's time. So even
   * a Redis that has lost its data assigns no epoch that a live owner has already. The script also
   * removes some expired fields, because fields that are never looked up would pile up.
   */
  claim: {
    name: 'culvertClaim',
    lua: `${prelude}${writing}${sweeping}
local ttlMs, floor, claim = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local epoch = math.max(now, floor, counter + 1, (storedEpoch or 0) + 1)
write(epoch, ttlMs, claim)
for _, other in ipairs(redis.call('HRANDFIELD', key, 16)) do
  if other ~= 'epoch' and other ~= field then sweep(other) end
end
return {${ScriptStatus.done}, now, epoch, notify()}`,
  },

  /**
   * Renews a claim before it expires, or stores it where it is missing, unless there is a newer
   * claim.
   */
  renew: {
    name: 'culvertRenew',
    lua: `${prelude}${writing}
local ttlMs, epoch, claim = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
if storedEpoch and storedHolder ~= holder
  and (storedEpoch > epoch or (storedEpoch == epoch and storedHolder > holder)) then
  return {${ScriptStatus.fenced}, now, storedEpoch}
end
write(epoch, ttlMs, claim)
local storedClaim = storedEpoch and string.match(stored, '^%d+ %d+ %w+ (.*)$')
local problem = nil
if storedEpoch ~= epoch or storedHolder ~= holder or storedClaim ~= claim then problem = notify() end
return {${ScriptStatus.done}, now, epoch, problem}`,
  },

  /** Releases a claim, unless there is a newer one. */
  release: {
    name: 'culvertRelease',
    lua: `${prelude}${writing}
local ttlMs, epoch = tonumber(ARGV[7]), tonumber(ARGV[8])
if storedEpoch and (storedEpoch > epoch or (storedEpoch == epoch and storedHolder ~= holder)) then
  return {${ScriptStatus.fenced}, now, storedEpoch}
end
write(epoch, ttlMs, '-')
return {${ScriptStatus.done}, now, epoch, notify()}`,
  },

  /**
   * Reads the tunnels of a cluster. The answer has: whether the key exists, when the tombstone of
   * the last released tunnel expires (0: there is none), then fields and values alternately.
   */
  read: {
    name: 'culvertRead',
    lua: `${prelude}${sweeping}
if redis.call('TYPE', key).ok == 'none' then return {${ScriptStatus.done}, now, 0, 0} end
local answer = {${ScriptStatus.done}, now, 1, 0}
local function add(field, value)
  answer[#answer + 1] = field
  answer[#answer + 1] = value
end
local fields = redis.pcall('HRANDFIELD', key, ${entryLimits.maxTunnels + 1})
if fields.err then add('', fields.err) return answer end
for _, field in ipairs(fields) do
  if #field > ${entryLimits.maxFieldBytes} then
    add(string.sub(field, 1, 64), '')
  elseif redis.call('HSTRLEN', key, field) > ${entryLimits.maxEntryBytes} then
    add(field, '')
  elseif field ~= 'epoch' then
    local value = redis.call('HGET', key, field)
    local _, expiry = parse(value)
    if expiry and expiry <= now then
      redis.call('HDEL', key, field)
    elseif not expiry or string.sub(value, -2) ~= ' -' then
      add(field, value)
    else
      answer[4] = math.max(answer[4], expiry)
    end
  end
end
return answer`,
  },

  /** Checks that Redis accepts writes. */
  ping: {
    name: 'culvertPing',
    lua: `${prelude}
redis.call('SET', key, digits(now), 'PX', 60000)
return {${ScriptStatus.done}, now}`,
  },
} as const satisfies Record<string, RedisScript>;
