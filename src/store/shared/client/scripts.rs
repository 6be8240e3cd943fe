//! What a server has to do in one step.

/// Extends a lease that is still ours.
pub const RENEW: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then \
     return redis.call('PEXPIRE',KEYS[1],ARGV[2]) end return 0";
/// Ends a lease that is still ours.
pub const END: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then \
     return redis.call('DEL',KEYS[1]) end return 0";
/// Numbers an entry and keeps the newest. One that is there already, by an attempt whose answer came too late
/// or by somebody else, keeps its number. A counter that was evicted goes on where the log ends. Members of a
/// sorted set are distinct, hence the number in front.
pub const LOG_APPEND: &str = "local e=':'..ARGV[1] \
     for _,m in ipairs(redis.call('ZREVRANGE',KEYS[1],0,-1)) do \
     if #m>#e and string.sub(m,-#e)==e then return tonumber(string.match(m,'^%d+')) end end \
     local n=redis.call('INCR',KEYS[2]) \
     local l=redis.call('ZREVRANGE',KEYS[1],0,0,'WITHSCORES') \
     if l[2] and tonumber(l[2])>=n then n=tonumber(l[2])+1 \
     redis.call('SET',KEYS[2],string.format('%.0f',n)) end \
     local s=string.format('%.0f',n) \
     redis.call('ZADD',KEYS[1],s,s..':'..ARGV[1]) \
     redis.call('ZREMRANGEBYRANK',KEYS[1],0,-1-tonumber(ARGV[2])) \
     return n";

/// Reads a value, or takes the lease on it, or says who has that: one round trip instead of two, and
/// nothing can come between.
pub const CLAIM: &str = "local v=redis.call('GETRANGE',KEYS[1],0,tonumber(ARGV[3])) \
     if #v>0 then return {1,v} end \
     local t=redis.call('GET',KEYS[2]) if t then return {2,t} end \
     redis.call('SET',KEYS[2],ARGV[1],'PX',ARGV[2]) return {0,''}";

/// Appends where it is expected to.
pub const APPEND_AT: &str = "local n=redis.call('STRLEN',KEYS[1]) \
     if n==tonumber(ARGV[1]) then n=redis.call('APPEND',KEYS[1],ARGV[2]) \
     redis.call('PEXPIRE',KEYS[1],ARGV[3]) end return n";

/// Another name, once.
pub const RENAME: &str = "if redis.call('GET',KEYS[1])==ARGV[1] then \
     redis.call('SET',KEYS[1],ARGV[2]) return 1 end return 0";
