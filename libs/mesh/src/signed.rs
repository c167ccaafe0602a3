//! Small values that leave the process and must come back unchanged: `payload.signature`, both base64url.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

/// The key of an installation for one purpose.
#[derive(Clone)]
pub struct SigningKey([u8; 32]);

impl SigningKey {
    /// Derives the key for `purpose` from the installation's secret, so that a value signed for one can't pass as another's.
    pub fn derive(secret: &[u8; 32], purpose: &str) -> Self {
        let mut mac = keyed(secret);
        mac.update(purpose.as_bytes());
        Self(mac.finalize().into_bytes().into())
    }

    /// The value as text, signed.
    pub fn sign<T: Serialize>(&self, value: &T) -> String {
        let payload = serde_json::to_vec(value).expect("signed values are plain data");
        let mut mac = keyed(&self.0);
        mac.update(&payload);
        format!("{}.{}", BASE64.encode(&payload), BASE64.encode(mac.finalize().into_bytes()))
    }

    /// The value, if this key signed exactly this text.
    pub fn open<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        let (payload, signature) = text.split_once('.')?;
        let (payload, signature) = (BASE64.decode(payload).ok()?, BASE64.decode(signature).ok()?);
        let mut mac = keyed(&self.0);
        mac.update(&payload);
        mac.verify_slice(&signature).ok()?; // in constant time
        serde_json::from_slice(&payload).ok()
    }
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_text_under_the_very_key_opens() {
        let key = SigningKey::derive(&[7; 32], "context");
        let text = key.sign(&("acme", 1));
        assert_eq!(key.open::<(String, u32)>(&text).unwrap(), ("acme".to_owned(), 1));
        assert!(SigningKey::derive(&[7; 32], "token").open::<(String, u32)>(&text).is_none());
        assert!(SigningKey::derive(&[8; 32], "context").open::<(String, u32)>(&text).is_none());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(key.open::<(String, u32)>(&changed).is_none(), "changed at {at}: {changed}");
        }
        assert!(key.open::<(String, u32)>("").is_none());
    }
}
