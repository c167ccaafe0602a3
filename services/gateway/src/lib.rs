//! The edge: one stack of layers in front of the services, which never decodes a message.
//!
//! [`stack`] is the file to read: a layer a line, with the reason for its place. A request that comes through carries a signed
//! context in place of its key; which service it goes to is decided by its path alone ([`target`]). The web console's files ([`console`]) stand beside
//! the stack.

mod authenticate;
mod call;
mod console;
mod deadline;
mod embed;
mod ending;
mod middleware;
mod observe;
mod patience;
mod public;
mod shared_keys;
mod shed;
pub mod stack;
pub mod target;
mod trace;
mod unknown;
mod uses;
mod whence;

use model::Network;
use serde::{Deserialize, Serialize};

pub use public::public;
pub use stack::{Parts, Services, service};
pub use uses::Uses;

/// The bounds of the edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Calls under way at once, of all tenants. Background calls are let in up to half of them, scheduled up to three quarters, and one tenant's up
    /// to four times as many as are free.
    pub max_calls: usize,
    /// Calls a second of one tenant, sustained, of all gateways together; 0: no limit.
    pub tenant_calls_per_second: u32,
    /// Calls that a tenant may make at once after a pause. 0: what may come in ten seconds.
    pub tenant_burst: u32,
    /// Origins whose pages may call by grpc-web and JSON, beside those that settings of the installation, of tenants and of apps name; `*` for all.
    /// Calls carry a key in a header, never a cookie.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies whose `x-forwarded-for` says who called them, as "10.0.0.0/8". Of everybody else that header counts for nothing.
    pub trusted_hops: Vec<Network>,
    /// Keys a second that don't exist and are looked up nevertheless, and for a caller's address; ten seconds' worth at once after a pause. Who
    /// shows more is refused until there is room. Keys that a gateway knows never wait for it.
    pub unknown_keys_per_second: u32,
    /// The same of one caller's address, of IPv6 one /64.
    pub address_unknown_keys_per_second: u32,
    /// How often it is written down when keys were last used, in seconds.
    pub key_uses_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_calls: 4_096,
            tenant_calls_per_second: 2_000,
            tenant_burst: 4_000,
            allowed_origins: vec!["*".to_owned()],
            trusted_hops: Vec::new(),
            unknown_keys_per_second: 200,
            address_unknown_keys_per_second: 20,
            key_uses_seconds: 30,
        }
    }
}
