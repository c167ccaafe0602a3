//! The service as its callers meet it: through its HTTP service, over the real metastore, with a query service that notes what it is
//! asked.

#![allow(clippy::unwrap_used)]

mod dashboards;
mod define;
mod evaluate;
mod json;
mod query;
mod subscribe;
mod validate;
mod world;
