//! What things are called on the server, and who holds a lease.

use crate::key::Key;

/// Bytes of chance in a token: no two are the same.
const CHANCE: usize = 16;

/// Makes keys. All that belongs to one answer has one hash tag, so that it lies in one slot of a cluster.
pub struct Names {
    prefix: String,
}

impl Names {
    /// Keys that begin with this.
    pub fn new(prefix: &str) -> Names {
        Names {
            prefix: prefix.to_owned(),
        }
    }

    /// Of an answer.
    pub fn main(&self, key: &Key) -> Vec<u8> {
        format!("{}{{{key}}}", self.prefix).into_bytes()
    }

    /// Of the lease on a question.
    pub fn lease(&self, key: &Key) -> Vec<u8> {
        format!("{}{{{key}}}:l", self.prefix).into_bytes()
    }

    /// Of what the holder of a lease has published.
    pub fn published(&self, key: &Key, token: &Token) -> Vec<u8> {
        let token = hex::encode(token.0);
        format!("{}{{{key}}}:f:{token}", self.prefix).into_bytes()
    }

    /// Of the sign that somebody elsewhere follows that.
    pub fn watched(&self, key: &Key, token: &Token) -> Vec<u8> {
        let token = hex::encode(token.0);
        format!("{}{{{key}}}:w:{token}", self.prefix).into_bytes()
    }

    /// Of the log of purges.
    pub fn purges(&self) -> Vec<u8> {
        format!("{}{{purges}}", self.prefix).into_bytes()
    }
}

/// Who holds a lease, and which purges of the fleet came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; CHANCE + 8]);

impl Token {
    /// A new one. `None` if the system has no random numbers.
    pub fn new(generation: u64) -> Option<Token> {
        let mut token = [0; CHANCE + 8];
        let (chance, rest) = token.split_at_mut(CHANCE);
        getrandom::fill(chance).ok()?;
        rest.copy_from_slice(&generation.to_le_bytes());
        Some(Token(token))
    }

    /// One that another replica has made.
    pub fn read(bytes: &[u8]) -> Option<Token> {
        bytes.try_into().ok().map(Token)
    }

    /// As it stands on the server.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The purges of the fleet before it.
    pub fn generation(&self) -> u64 {
        let generation = self.0.last_chunk().copied();
        u64::from_le_bytes(generation.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_which_purges_came_before_it() {
        let token = Token::new(7 << 32 | 3).unwrap();
        assert_eq!(Token::read(token.as_bytes()), Some(token));
        assert_eq!(token.generation(), 7 << 32 | 3);
        assert_ne!(Token::new(1), Token::new(1));
        assert_eq!(Token::read(b"a stranger's"), None);
    }

    #[test]
    fn all_of_an_answer_has_one_hash_tag() {
        let (names, key) = (Names::new("llmc:"), Key::from_bytes([1; 32]));
        let main = String::from_utf8(names.main(&key)).unwrap();
        assert_eq!(main, format!("llmc:{{{key}}}"));
        let token = Token::new(0).unwrap();
        for other in [names.lease(&key), names.published(&key, &token)] {
            assert!(other.starts_with(main.as_bytes()));
        }
    }
}
