//! The edge: one stack of layers in front of the services, which never decodes a message.
//!
//! [`stack`] is the file to read: a layer a line, with the reason for its place. A request that comes through carries a signed
//! context in place of its key; which service it goes to is decided by its path alone ([`target`]).

mod authenticate;
mod call;
mod deadline;
mod ending;
mod limit;
mod middleware;
mod observe;
mod shared_keys;
mod shed;
pub mod stack;
pub mod target;
mod trace;

use serde::{Deserialize, Serialize};

pub use stack::{Parts, Services, service};

/// The bounds of the edge.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Calls under way at once, of all tenants.
    pub max_calls: usize,
    /// Calls a second of one tenant, sustained.
    pub tenant_calls_per_second: u32,
    /// Calls that a tenant may make at once after a pause.
    pub tenant_burst: u32,
    /// Origins whose pages may call by grpc-web and JSON; `*` for all. Calls carry a key in a header, never a cookie.
    pub allowed_origins: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_calls: 4_096,
            tenant_calls_per_second: 2_000,
            tenant_burst: 4_000,
            allowed_origins: vec!["*".to_owned()],
        }
    }
}
