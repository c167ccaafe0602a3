//! The service as its callers meet it: through its HTTP service, over the real directory.

#![allow(clippy::unwrap_used)]

mod apps;
mod json;
mod keys;
mod quotas;
mod retention;
mod settings;
mod tenants;
mod world;
