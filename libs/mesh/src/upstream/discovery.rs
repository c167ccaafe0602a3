//! Where a role's processes are: a list of `HOST:PORT`, each name with as many addresses as DNS gives it.

use std::{collections::BTreeSet, fmt, net::SocketAddr, str::FromStr, time::Duration};

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
    async fn resolve(&self) -> Option<BTreeSet<SocketAddr>> {
        let resolved = join_all(self.0.iter().map(|(host, port)| async move {
            let found = tokio::net::lookup_host((host.as_str(), *port)).await;
            found.inspect_err(|error| warn!(host, %error, "can't resolve a name of the mesh")).ok()
        }));
        resolved.await.into_iter().collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
    }
}

/// Keeps `endpoints` as the names say until `stop`; what can't be resolved leaves them as they were.
pub(super) async fn follow(
    addresses: Addresses,
    role: &'static str,
    tls: Option<Tls>,
    endpoints: watch::Sender<Endpoints>,
    stop: CancellationToken,
) {
    loop {
        if let Some(found) = addresses.resolve().await {
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
    use super::*;

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
