//! Where answers are sent: to whom, and how it can be told that they are ours.
//!
//! A tenant names the address, and this process stands where the tenant doesn't: behind the firewall. So what a name stands for is looked up here, as part
//! of connecting, and whatever is not an address of the public internet is refused; what was looked up is what is connected to, so that a
//! name that stands for something else a moment later gains nothing. A redirection is not followed.

use std::{
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use model::Error;
use sha2::Sha256;
use tower::Service;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of its answer is read.
const MOST_READ: usize = 64 << 10;
/// The longest address, in bytes.
const MOST_URL: usize = 2_048;

/// Sends answers.
pub(crate) struct Webhooks {
    /// None where this machine has no certificates to check receivers by.
    client: Option<Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>>,
    loopback: bool,
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) url: &'a str,
    /// The same whenever it is sent again.
    pub(crate) id: &'a str,
    pub(crate) at_ms: i64,
    pub(crate) body: Bytes,
    pub(crate) secret: &'a [u8],
}

impl Webhooks {
    /// With `loopback` also to this machine, without TLS too: for development.
    pub(crate) fn new(loopback: bool) -> Self {
        let mut http = HttpConnector::new_with_resolver(Resolver { loopback });
        http.enforce_http(false);
        http.set_connect_timeout(Some(PATIENCE));
        let client = HttpsConnectorBuilder::new().with_native_roots().ok().map(|connector| {
            let connector = connector.https_or_http().enable_http1().wrap_connector(http);
            Client::builder(TokioExecutor::new()).build(connector)
        });
        Self { client, loopback }
    }

    /// Refuses an address that nothing may be sent to, as far as it can be told without looking it up.
    pub(crate) fn check(&self, field: &str, url: &str) -> Result<(), Error> {
        let wrong = |what: &str| Error::invalid(field, "MALFORMED", what);
        if url.len() > MOST_URL {
            return Err(wrong("must have at most 2,048 bytes"));
        }
        let uri: Uri = url.parse().map_err(|_| wrong("must be an address as https://example.com/reports"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("must name a host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("must not have a user or a password"));
        }
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if address.is_some_and(|address| !may_reach(address, self.loopback)) {
            return Err(wrong("must be an address of the public internet"));
        }
        let is_here = address.is_some_and(|address| address.to_canonical().is_loopback());
        match uri.scheme_str() {
            Some("https") => Ok(()),
            Some("http") if is_here && self.loopback => Ok(()),
            _ => Err(wrong("must begin with https://")),
        }
    }

    /// Sends a message; what is wrong if the receiver didn't take it.
    pub(crate) async fn send(&self, message: &Message<'_>) -> Result<(), String> {
        self.check("url", message.url).map_err(|error| error.message)?;
        let client = self.client.as_ref().ok_or("this machine has no certificates to check receivers by")?;
        let seconds = message.at_ms.div_euclid(1_000);
        let signature = signature(message.secret, message.id, seconds, &message.body);
        let request = Request::post(message.url)
            .header(header::CONTENT_TYPE, "application/json")
            // A tenant's receiver may not know whose product this is.
            .header(header::USER_AGENT, concat!("webhook/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", message.id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
            .body(Full::new(message.body.clone()))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let response = client.request(request).await.map_err(|error| cause(&error))?;
            let status = response.status();
            // Read, so that the connection can be used again; what it says is nobody's business.
            let _ = Limited::new(response.into_body(), MOST_READ).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {status}")) }
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| "the receiver did not answer in time".to_owned())?
    }
}

/// The innermost of what went wrong: those around it say that something did.
fn cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// `v1=` and the HMAC-SHA256 of `id.seconds.body`, in hex.
fn signature(secret: &[u8], id: &str, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{seconds}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

/// Whether something may be sent to an address: those of the public internet alone, and this machine's if the operator says so.
fn may_reach(address: IpAddr, loopback: bool) -> bool {
    match address.to_canonical() {
        address if address.is_loopback() => loopback,
        IpAddr::V4(address) => is_public(address),
        IpAddr::V6(address) => {
            let [a, b, .., y, z] = address.segments();
            let embedded = Ipv4Addr::from((u32::from(y) << 16) | u32::from(z));
            match a {
                // To IPv4 by translation.
                0x64 if b == 0xff9b => is_public(embedded),
                // Of what is assigned, without Teredo, documentation and the like, and without IPv4 by tunnel.
                0x2000..=0x3fff => !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && a != 0x2002 && a != 0x3fff,
                _ => false,
            }
        }
    }
}

fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // shared by the customers of a carrier
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b)) // benchmarks
        || a >= 224;
    !special && !address.is_loopback()
}

/// Looks names up, and keeps to addresses that may be reached.
#[derive(Clone)]
struct Resolver {
    loopback: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let loopback = self.loopback;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<_> = found.filter(|address| may_reach(address.ip(), loopback)).collect();
            if public.is_empty() {
                return Err(io::Error::other("the name stands for no address of the public internet"));
            }
            Ok(public.into_iter())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_reached() {
        for public in ["1.1.1.1", "193.99.144.80", "100.63.0.1", "2a00:1450:4001::1", "64:ff9b::101:101"] {
            assert!(may_reach(public.parse().unwrap(), false), "{public}");
        }
        for other in [
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
            "2001::1",
            "::10.0.0.1",
        ] {
            assert!(!may_reach(other.parse().unwrap(), false), "{other}");
        }
        assert!(may_reach("127.0.0.1".parse().unwrap(), true));
        assert!(!may_reach("10.0.0.1".parse().unwrap(), true));
    }

    #[test]
    fn an_address_is_judged_before_anything_is_sent() {
        let (strict, here) = (Webhooks::new(false), Webhooks::new(true));
        for url in ["https://example.com/x?y=1", "https://1.1.1.1:8443/"] {
            strict.check("url", url).unwrap();
        }
        for url in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "https://",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/meta-data",
            "http://127.0.0.1:80/",
            "https://user:secret@example.com/",
            "https://[::ffff:10.0.0.1]/",
        ] {
            assert!(strict.check("url", url).is_err(), "{url}");
        }
        here.check("url", "http://127.0.0.1:8080/hook").unwrap();
        assert!(here.check("url", "http://10.0.0.1/").is_err());
    }

    #[tokio::test]
    async fn a_name_that_stands_for_this_machine_is_not_connected_to() {
        let refused = Resolver { loopback: false }.call("localhost".parse().unwrap()).await.unwrap_err();
        assert!(refused.to_string().contains("public internet"), "{refused}");
        assert!(Resolver { loopback: true }.call("localhost".parse().unwrap()).await.unwrap().count() > 0);
    }

    #[test]
    fn a_signature_is_what_its_reader_computes() {
        // As `printf 'r1.1700000000.{}' | openssl dgst -sha256 -hmac secret` says.
        let expect = "v1=21b25f5bfc9a47ee9b969c88aea6c9984aaf61d4fd02270b7c3e595e35dc5b02";
        assert_eq!(signature(b"secret", "r1", 1_700_000_000, b"{}"), expect);
    }
}
