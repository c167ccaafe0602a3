//! Where a call comes from, and whether its key may come from there.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header};
use mesh::{Request, serve::Peer};
use model::{Error, ErrorCode, Network};
use storage::{Key, Settings};

/// What proxies write down of the address that called them: each adds it at the right.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The caller's address; none where it can't be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whence(pub(crate) Option<IpAddr>);

impl Whence {
    /// The other end of the connection, or where that is a trusted hop, the rightmost address in its `x-forwarded-for` that is none. What stands
    /// further left is the word of somebody who isn't trusted.
    pub(crate) fn of(request: &Request, trusted: &[Network]) -> Self {
        let Some(Peer(peer)) = request.extensions().get() else { return Self(None) };
        let is_hop = |address: &IpAddr| trusted.iter().any(|network| network.contains(*address));
        let mut caller = peer.ip().to_canonical();
        if !is_hop(&caller) {
            return Self(Some(caller));
        }
        let lines: Vec<_> = request.headers().get_all(FORWARDED_FOR).iter().collect();
        for line in lines.into_iter().rev() {
            let Ok(line) = line.to_str() else { return Self(None) };
            for told in line.rsplit(',') {
                let Some(told) = address(told.trim()) else { return Self(None) };
                caller = told;
                if !is_hop(&caller) {
                    return Self(Some(caller));
                }
            }
        }
        Self(Some(caller))
    }

    /// Refuses a call with this key, unless the key may be used from here; if it names no origins, those of the settings hold, and a token's beside them. The refusal says which of
    /// its limits it is, and nothing else of them.
    pub(crate) fn check(self, key: &Key, settings: &Settings, headers: &HeaderMap) -> Result<(), Error> {
        let networks = &key.places.networks;
        let inside = |address: IpAddr| networks.iter().any(|network| network.contains(address));
        if !networks.is_empty() && !self.0.is_some_and(inside) {
            return Err(refused("address", "ADDRESS_NOT_ALLOWED", "this key may not be used from this address"));
        }
        let own = &key.places.origins;
        let of_key = if own.is_empty() { &settings.allowed_origins } else { own };
        let of_token = key.customer.iter().map(|customer| ("embed token", &customer.origins));
        for (what, origins) in [("key", of_key)].into_iter().chain(of_token).filter(|(_, origins)| !origins.is_empty())
        {
            let listed = |origin: &[u8]| origins.iter().any(|allowed| allowed.as_bytes() == origin);
            if !headers.get_all(header::ORIGIN).iter().all(|origin| listed(origin.as_bytes())) {
                let message = format!("this {what} may not be used by pages of this origin");
                return Err(refused("origin", "ORIGIN_NOT_ALLOWED", &message));
            }
        }
        Ok(())
    }
}

/// Some proxies add the port.
fn address(text: &str) -> Option<IpAddr> {
    let address = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

fn refused(field: &str, reason: &'static str, message: &str) -> Error {
    Error { code: ErrorCode::PermissionDenied, message: message.to_owned(), ..Error::invalid(field, reason, message) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use mesh::Body;

    use super::*;

    fn whence(peer: &str, forwarded: &[&str], trusted: &[&str]) -> Option<String> {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Peer(SocketAddr::new(peer.parse().unwrap(), 1)));
        for line in forwarded {
            request.headers_mut().append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted: Vec<_> = trusted.iter().map(|network| Network::parse(network).unwrap()).collect();
        Whence::of(&request, &trusted).0.map(|address| address.to_string())
    }

    #[test]
    fn only_trusted_hops_are_believed_and_only_as_far_as_they_are() {
        let hops = &["10.0.0.0/8", "2001:db8::/32"];
        for (peer, forwarded, caller) in [
            // Nobody's word counts but a hop's.
            ("203.0.113.9", &["10.1.1.1"][..], Some("203.0.113.9")),
            ("203.0.113.9", &[], Some("203.0.113.9")),
            ("::ffff:203.0.113.9", &[], Some("203.0.113.9")),
            ("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("::ffff:10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("2001:db8::1", &["2001:db9::7"], Some("2001:db9::7")),
            // What the caller made up stands left of what the hop saw.
            ("10.0.0.1", &["10.9.9.9, 192.0.2.1, 198.51.100.7"], Some("198.51.100.7")),
            ("10.0.0.1", &["192.0.2.1", "198.51.100.7"], Some("198.51.100.7")),
            ("10.0.0.1", &["nonsense, 198.51.100.7"], Some("198.51.100.7")),
            // Hops behind hops.
            ("10.0.0.1", &["192.0.2.1, 198.51.100.7, 10.0.0.2", "10.0.0.3"], Some("198.51.100.7")),
            ("10.0.0.1", &["10.0.0.4,10.0.0.5"], Some("10.0.0.4")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.7:4711"], Some("198.51.100.7")),
            ("10.0.0.1", &["[2001:db9::7]:4711"], Some("2001:db9::7")),
            ("10.0.0.1", &["::ffff:198.51.100.7"], Some("198.51.100.7")),
            // A hop that says something else: who called it is not known.
            ("10.0.0.1", &["198.51.100.7, unknown"], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &["198.51.100.7,"], None),
        ] {
            assert_eq!(whence(peer, forwarded, hops).as_deref(), caller, "{peer} {forwarded:?}");
        }
        assert_eq!(
            whence("10.0.0.1", &["198.51.100.7"], &[]).as_deref(),
            Some("10.0.0.1"),
            "no hop is trusted by itself"
        );
    }
}
