//! The text of an API key: `pnsk_<environment>_<id>_<secret><checksum>`.
//!
//! The prefix lets secret scanners find it and says what the key is for, the checksum catches a typo before any look-up, the id is public and finds
//! the stored hash.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// As long as every environment's.
const PREFIX_LEN: usize = Environment::Live.prefix().len();
const ID_LEN: usize = 12;
const SECRET_LEN: usize = 32;
const CHECKSUM_LEN: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key is for, as people and secret scanners see in its text. It is no other data space: what a key reaches is its scope's to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real work.
    #[default]
    Live,
    /// Trials.
    Test,
}

impl Environment {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Live, Self::Test];

    /// The word users read and write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }

    /// The environment of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Live => "pnsk_live_",
            Self::Test => "pnsk_test_",
        }
    }
}

/// How a key is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// As its own text.
    #[default]
    Bearer,
    /// By tokens with Ed25519 signatures, whose private key is the tenant's alone.
    EdDsa,
    /// By tokens with HMAC-SHA256, whose secret is the tenant's and this installation's.
    Hs256,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bearer, Self::EdDsa, Self::Hs256];

    /// The word that is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::EdDsa => "eddsa",
            Self::Hs256 => "hs256",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A well-formed key text. Its `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// Makes a key text out of random bytes; bytes are mapped to 62 characters, so 12 characters carry over 70 bits and 32 over 188.
    pub fn from_random(environment: Environment, id: [u8; ID_LEN], secret: [u8; SECRET_LEN]) -> Self {
        let mut text = String::with_capacity(PREFIX_LEN + ID_LEN + 1 + SECRET_LEN + CHECKSUM_LEN);
        text.push_str(environment.prefix());
        text.extend(id.iter().map(|b| char::from(BASE62[usize::from(*b) % 62])));
        text.push('_');
        text.extend(secret.iter().map(|b| char::from(BASE62[usize::from(*b) % 62])));
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Self(text)
    }

    /// Takes a text that has the form and the right checksum.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = Environment::ALL.into_iter().find_map(|environment| text.strip_prefix(environment.prefix()))?;
        let whole =
            rest.len() == ID_LEN + 1 + SECRET_LEN + CHECKSUM_LEN && rest.is_ascii() && rest.as_bytes()[ID_LEN] == b'_';
        if !whole {
            return None;
        }
        let (body, sum) = text.split_at(text.len() - CHECKSUM_LEN);
        (checksum(body) == sum).then(|| Self(text.to_owned()))
    }

    /// The public part, by which the key is looked up and named.
    pub fn id(&self) -> &str {
        &self.0[PREFIX_LEN..PREFIX_LEN + ID_LEN]
    }

    /// What the key is for.
    pub fn environment(&self) -> Environment {
        let of_prefix = Environment::ALL.into_iter().find(|environment| self.0.starts_with(environment.prefix()));
        of_prefix.expect("every key text begins with an environment's prefix")
    }

    /// What is stored of a key: SHA-256 of its whole text. The text has 188 random bits, so a slow hash would protect nothing more.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The whole text, which is shown once.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}_...", self.environment().prefix(), self.id())
    }
}

fn checksum(text: &str) -> String {
    let mut n = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(n % 62) as usize];
        n /= 62;
    }
    digits.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_anywhere_is_caught_and_the_secret_stays_out_of_logs() {
        let key = KeyText::from_random(Environment::Live, [3; 12], [200; 32]);
        assert_eq!(KeyText::parse(key.as_str()).unwrap(), key);
        assert_eq!(key.id(), "3".repeat(12));
        for at in 0..key.as_str().len() {
            let mut bytes = key.as_str().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            assert!(KeyText::parse(std::str::from_utf8(&bytes).unwrap()).is_none(), "typo at {at}");
        }
        for bad in ["", "pnsk_live_", "pnsk_live_ä", &key.as_str()[1..], &format!("{}0", key.as_str())] {
            assert!(KeyText::parse(bad).is_none());
        }
        assert_eq!(format!("{key:?}"), "pnsk_live_333333333333_...");
    }

    #[test]
    fn a_text_says_its_environment_and_can_not_be_made_to_say_another() {
        for (environment, prefix, other) in
            [(Environment::Live, "pnsk_live_", "pnsk_test_"), (Environment::Test, "pnsk_test_", "pnsk_live_")]
        {
            let key = KeyText::from_random(environment, [3; 12], [200; 32]);
            assert_eq!(KeyText::parse(key.as_str()).unwrap().environment(), environment);
            assert!(key.as_str().starts_with(prefix));
            assert_eq!(KeyText::parse(&key.as_str().replace(prefix, other)), None);
            assert_eq!(Environment::from_name(environment.name()), Some(environment));
        }
    }
}
