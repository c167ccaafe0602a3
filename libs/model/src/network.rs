//! Networks of IP addresses, as `10.0.0.0/8` or `2001:db8::/32`.

use std::{fmt, net::IpAddr};

use serde::{Deserialize, Serialize};

/// Why a text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It has not the form.
    #[error("must be a network as 10.0.0.0/8 or 2001:db8::/32, or one address")]
    Malformed,
    /// It names an address inside of the network, so that it isn't sure which of them is meant.
    #[error("has bits behind its prefix: the network is {0}")]
    BitsBehindPrefix(Network),
    /// Addresses of IPv4 in the clothes of IPv6, which none is compared in.
    #[error("must be written as IPv4")]
    Mapped,
}

/// A range of IPv4 or IPv6 addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of that address and so many first bits; as many as there are, if it is more.
    pub fn of(address: IpAddr, prefix: u8) -> Self {
        match address {
            IpAddr::V4(address) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { first: IpAddr::V4((address.to_bits() & mask).into()), prefix }
            }
            IpAddr::V6(address) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { first: IpAddr::V6((address.to_bits() & mask).into()), prefix }
            }
        }
    }

    /// Reads a network; one address is the network of that address alone.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        if address.to_canonical() != address {
            return Err(NetworkError::Mapped);
        }
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let digits = |prefix: &&str| prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            None => Some(bits),
            Some(prefix) => Some(prefix).filter(digits).and_then(|p| p.parse().ok()).filter(|prefix| *prefix <= bits),
        };
        let network = Self::of(address, prefix.ok_or(NetworkError::Malformed)?);
        if network.first == address { Ok(network) } else { Err(NetworkError::BitsBehindPrefix(network)) }
    }

    /// Whether the address is one of the network's. An IPv4 address is the same in the clothes of IPv6.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && Self::of(address, self.prefix).first == self.first
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;
    fn try_from(text: String) -> Result<Self, NetworkError> {
        Self::parse(&text)
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// Whether it is the name of a host: labels of letters, digits and hyphens, the last of which is no number, as an address would have it.
pub fn is_host(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or("");
    text.len() <= 253 && text.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn holds(network: &str, address: &str) -> bool {
        Network::parse(network).unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_with_its_first_bits() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::1", "1.2.3.4"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
        ] {
            assert!(holds(network, inside) && !holds(network, outside), "{network}");
        }
    }

    #[test]
    fn what_is_read_is_said_again_and_what_is_unsure_is_refused() {
        for (text, said) in
            [("10.0.0.0/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("2001:DB8::/32", "2001:db8::/32")]
        {
            assert_eq!(Network::parse(text).unwrap().to_string(), said);
            assert_eq!(Network::parse(said), Network::parse(text));
        }
        for malformed in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0/8",
            "x",
            "10.0.0.0/8/8",
            "10.0.0.0/256",
        ] {
            assert_eq!(Network::parse(malformed), Err(NetworkError::Malformed), "{malformed}");
        }
        let inside = Network::parse("10.1.2.3/8").unwrap_err();
        assert_eq!(inside.to_string(), "has bits behind its prefix: the network is 10.0.0.0/8");
        assert_eq!(Network::parse("::ffff:10.0.0.0/104"), Err(NetworkError::Mapped));
    }
}
