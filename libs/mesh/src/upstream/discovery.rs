//! Where a role's processes are: a list of `HOST:PORT`, each name with as many addresses as DNS gives it.

use std::{collections::BTreeSet, fmt, io, net::SocketAddr, str::FromStr, time::Duration};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Endpoints, endpoint::Endpoint};
use crate::tls::Tls;

/// How often names are resolved again.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// `HOST:PORT`, or several with commas between them. A host is an address or a name; all addresses of a name are used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Addresses(Vec<(String, u16)>);

/// Not a list of addresses.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not HOST:PORT")]
pub struct AddressesError(String);

impl FromStr for Addresses {
    type Err = AddressesError;

    fn from_str(text: &str) -> Result<Self, AddressesError> {
        let entry = |entry: &str| {
            let (host, port) = entry.rsplit_once(':')?;
            let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
            let plain = !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']']);
            plain.then_some((host.to_owned(), port.parse().ok().filter(|port| *port != 0)?))
        };
        let entries = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        entries
            .map(|text| entry(text).ok_or_else(|| AddressesError(text.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl TryFrom<String> for Addresses {
    type Error = AddressesError;
    fn try_from(text: String) -> Result<Self, AddressesError> {
        text.parse()
    }
}

impl From<Addresses> for String {
    fn from(addresses: Addresses) -> Self {
        addresses.to_string()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (host, port)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if host.contains(':') { write!(f, "{comma}[{host}]:{port}")? } else { write!(f, "{comma}{host}:{port}")? }
        }
        Ok(())
    }
}

impl Addresses {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all are on this machine, so that calls to them can't be read on the way.
    pub fn are_loopback(&self) -> bool {
        self.0
            .iter()
            .all(|(host, _)| host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()))
    }

    /// What the names stand for now. A name that can't be resolved is reported and makes the whole unknown.
    async fn resolve(&self, look_up: &impl LookUp) -> Option<BTreeSet<SocketAddr>> {
        let resolved = join_all(self.0.iter().map(|(host, port)| async move {
            let found = look_up.look_up(host, *port).await;
            found.inspect_err(|error| warn!(host, %error, "can't resolve a name of the mesh")).ok()
        }));
        resolved.await.into_iter().collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
    }
}

/// What names stand for.
pub(super) trait LookUp: Sync {
    fn look_up(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;
}

/// As this machine resolves them.
pub(super) struct Dns;

impl LookUp for Dns {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// Keeps `endpoints` as the names say until `stop`; what can't be resolved leaves them as they were.
pub(super) async fn follow(
    addresses: Addresses,
    look_up: impl LookUp,
    role: &'static str,
    tls: Option<Tls>,
    endpoints: watch::Sender<Endpoints>,
    stop: CancellationToken,
) {
    loop {
        if let Some(found) = addresses.resolve(&look_up).await {
            let old = endpoints.borrow().clone().unwrap_or_default();
            let known: BTreeSet<_> = old.iter().map(|endpoint| endpoint.address).collect();
            if known != found || found.is_empty() {
                info!(role, addresses = ?found, "where the role's processes are");
                let kept = |address: &SocketAddr| old.iter().find(|endpoint| endpoint.address == *address).cloned();
                let next = found
                    .iter()
                    .map(|address| kept(address).unwrap_or_else(|| Endpoint::start(*address, role, tls.clone())));
                endpoints.send_replace(Some(next.collect()));
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(RESOLVE_EVERY)).await.is_none() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// What a headless service has now; none if DNS is away.
    struct Pods(Mutex<Option<Vec<SocketAddr>>>);

    impl LookUp for &Pods {
        async fn look_up(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
            self.0.lock().clone().ok_or_else(|| io::Error::other("no such name"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_s_addresses_are_followed_and_those_that_stay_keep_their_connections() {
        let [a, b, c] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"].map(|text| text.parse::<SocketAddr>().unwrap());
        let pods: &Pods = Box::leak(Box::new(Pods(Mutex::new(Some(vec![a, b])))));
        let (endpoints, mut seen) = watch::channel(None);
        let stop = CancellationToken::new();
        let of = "query:7080".parse().unwrap();
        let following = tokio::spawn(follow(of, pods, "query", None, endpoints, stop.clone()));
        let at =
            |known: &Endpoints| known.iter().flat_map(|all| all.iter()).map(|e| e.address).collect::<BTreeSet<_>>();
        let two = seen.wait_for(|known| known.is_some()).await.unwrap().clone();
        assert_eq!(at(&two), BTreeSet::from([a, b]));
        // DNS goes away for a while: they are as they were.
        for (now, expected) in [(None, None), (Some(vec![b, c]), Some([b, c])), (Some(vec![b, c]), None)] {
            *pods.0.lock() = now;
            seen.mark_unchanged();
            tokio::time::sleep(2 * RESOLVE_EVERY).await;
            assert_eq!(seen.has_changed().unwrap(), expected.is_some());
            if let Some(expected) = expected {
                assert_eq!(at(&seen.borrow()), BTreeSet::from(expected));
            }
        }
        let next = seen.borrow().clone();
        let of_b =
            |known: &Endpoints| known.iter().flat_map(|all| all.iter()).find(|e| e.address == b).cloned().unwrap();
        assert!(std::sync::Arc::ptr_eq(&of_b(&two), &of_b(&next)), "a connection that is there is kept");
        stop.cancel();
        following.await.unwrap();
    }

    #[test]
    fn lists_are_read_as_they_are_written() {
        for text in ["", "query:7080", "10.0.0.1:7080,10.0.0.2:7081", "[::1]:7080"] {
            assert_eq!(text.parse::<Addresses>().unwrap().to_string(), text);
        }
        assert_eq!(" a:1 , b:2, ".parse::<Addresses>().unwrap().to_string(), "a:1,b:2");
        for bad in ["query", "query:", ":7080", "query:0", "query:70800", "http://query:7080", "a b:1"] {
            assert!(bad.parse::<Addresses>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, local) in
            [("localhost:1,127.0.0.1:2,[::1]:3", true), ("127.0.0.1:1,10.0.0.1:1", false), ("query:1", false)]
        {
            assert_eq!(text.parse::<Addresses>().unwrap().are_loopback(), local, "{text}");
        }
    }
}
