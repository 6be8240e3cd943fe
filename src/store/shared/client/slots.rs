//! Where a key lives in a cluster: hash tags, CRC-16, and what `CLUSTER SLOTS` says.

use redis::Value;

/// Slots of a cluster, by the protocol's definition.
pub const SLOTS: u16 = 16_384;
/// More nodes than a cluster can have in practice; an answer with more is not believed.
pub const NODES_MAX: usize = 512;

/// Host and port of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addr {
    /// Name or address, IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Addr {
    /// Reads `host:port`, where an IPv6 address may stand in brackets.
    pub fn parse(text: &str) -> Option<Addr> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| Addr {
            host: host.to_owned(),
            port,
        })
    }
}

impl std::fmt::Display for Addr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A range of slots and who serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// First slot.
    pub from: u16,
    /// Last slot.
    pub to: u16,
    /// Takes writes.
    pub master: Addr,
    /// May be read from.
    pub replicas: Vec<Addr>,
}

/// The part of a key that decides: what is between the first braces, if there is anything.
pub fn tag(key: &[u8]) -> Option<&[u8]> {
    let (_, behind) = split_once(key, b'{')?;
    let (tag, _) = split_once(behind, b'}')?;
    (!tag.is_empty()).then_some(tag)
}

fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|byte| *byte == at)?;
    let (head, tail) = bytes.split_at(position);
    Some((head, tail.get(1..)?))
}

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    let hashed = tag(key).unwrap_or(key);
    // CRC-16/XMODEM, bit by bit: keys are short, and a table would have to be indexed.
    let mut crc = 0u16;
    for byte in hashed {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc = (crc << 1) ^ if carry { 0x1021 } else { 0 };
        }
    }
    crc % SLOTS
}

/// Reads the answer to `CLUSTER SLOTS`. A node without a host is the one that was `asked`. `None`
/// if it is not such an answer or leaves no slot served.
pub fn parse(answer: Value, asked: &Addr) -> Option<Vec<Range>> {
    let Value::Array(rows) = answer else {
        return None;
    };
    if rows.is_empty() || rows.len() > usize::from(SLOTS) {
        return None;
    }
    rows.into_iter().map(|row| range(row, asked)).collect()
}

fn range(row: Value, asked: &Addr) -> Option<Range> {
    let Value::Array(fields) = row else {
        return None;
    };
    let mut fields = fields.into_iter();
    let (from, to) = (slot(fields.next()?)?, slot(fields.next()?)?);
    let mut nodes = fields.take(NODES_MAX).map(|node| addr(node, asked));
    let master = nodes.next()??;
    (from <= to).then(|| Range {
        from,
        to,
        master,
        // A replica that cannot be named is one that is not read from.
        replicas: nodes.flatten().collect(),
    })
}

fn slot(value: Value) -> Option<u16> {
    let Value::Int(slot) = value else {
        return None;
    };
    u16::try_from(slot).ok().filter(|slot| *slot < SLOTS)
}

fn addr(node: Value, asked: &Addr) -> Option<Addr> {
    let Value::Array(fields) = node else {
        return None;
    };
    let mut fields = fields.into_iter();
    let host = match fields.next()? {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        Value::Nil => String::new(),
        _ => return None,
    };
    let Value::Int(port) = fields.next()? else {
        return None;
    };
    Some(Addr {
        host: match host.as_str() {
            "" | "?" => asked.host.clone(),
            _ => host,
        },
        port: u16::try_from(port).ok().filter(|port| *port != 0)?,
    })
}

/// A key beside the log's, in the same slot.
pub fn beside(log: &[u8], suffix: &[u8]) -> Vec<u8> {
    match tag(log) {
        Some(_) => [log, suffix].concat(),
        None => [b"{", log, b"}", suffix].concat(),
    }
}

#[cfg(test)]
mod tests;
