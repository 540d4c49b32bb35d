//! The steps that a document changes by, each on one key.

use crate::peers::shared::locks::fenced;
use crate::redis::Script;

/// Counts an update's bytes. `ARGV`: its bytes, the most in all. Returns the bytes in all; -2 if those were too many.
pub(super) static RESERVE: Script = Script::new(fenced!(
    r"
local size = (tonumber(redis.call('GET', KEYS[1]) or 0) or 0) + ARGV[2]
if size > tonumber(ARGV[3]) then return -2 end
redis.call('SET', KEYS[1], string.format('%d', size))
return size
"
));

/// Stores an update and publishes it. `ARGV`: the update, and if others are told, the channel and what they are told.
/// Returns how many there are.
pub(super) static PUSH: Script = Script::new(fenced!(
    r"
local count = redis.call('RPUSH', KEYS[1], ARGV[2])
if ARGV[3] then redis.pcall('PUBLISH', ARGV[3], ARGV[4]) end
return count
"
));

/// Sets a value.
pub(super) static SET: Script =
    Script::new(fenced!("redis.call('SET', KEYS[1], ARGV[2]) return 1"));

/// Sets a field of a hash that is there for a while. `ARGV`: the field, its value, and the seconds.
pub(super) static KEEP: Script = Script::new(fenced!(
    r"
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return redis.call('EXPIRE', KEYS[1], ARGV[4])
"
));

/// Replaces a hash that is there for a while. `ARGV`: the seconds, and each field with its value.
pub(super) static RENEW: Script = Script::new(fenced!(
    r"
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"
));

/// Makes a list of lines.
pub(super) static RESTORE: Script = Script::new(fenced!(
    r"for line in string.gmatch(ARGV[2], '[^\n]+') do redis.call('RPUSH', KEYS[1], line) end return 1"
));

/// Removes a key.
pub(super) static REMOVE: Script = Script::new(fenced!("return redis.call('DEL', KEYS[1])"));

/// What follows the first updates. `ARGV`: how many these are, and the mark of the last of them ([`super::merged`]). Returns
/// 1 and what follows them; 0 if they are not what they were.
pub(super) static REST: Script = Script::new(
    r"
local last = redis.call('LINDEX', KEYS[1], ARGV[1] - 1)
if not last then return {0, {}} end
local mark = #last .. ':' .. string.sub(last, 1, 256) .. string.sub(last, -256)
if mark ~= ARGV[2] then return {0, {}} end
return {1, redis.call('LRANGE', KEYS[1], ARGV[1], -1)}
",
);

/// Replaces the first updates. `ARGV`: how many, the hash of what they were, and the update that replaces them.
/// Returns the bytes of all updates after them; -2 if they are not what they were.
pub(super) static REPLACE: Script = Script::new(fenced!(
    r"
local count = tonumber(ARGV[2])
local all = redis.call('LRANGE', KEYS[1], 0, -1)
if #all < count then return -2 end
local old = table.concat(all, '\n', 1, count)
if redis.sha1hex(old) ~= ARGV[3] then return -2 end
redis.call('LTRIM', KEYS[1], count, -1)
redis.call('LPUSH', KEYS[1], ARGV[4])
local bytes = 0
for i = count + 1, #all do
  local _, commas = string.gsub(all[i], ',', '')
  bytes = bytes + commas + 1
end
return bytes
"
));
