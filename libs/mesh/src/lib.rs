//! What every role needs to be a service of the mesh: a server that drains ([`serve`]), telemetry ([`telemetry`]), the signed
//! context that carries who is calling ([`context`]) and the header that says how long it waits ([`deadline`]), JSON for every gRPC method from the contracts' own HTTP
//! annotations ([`transcode`]), the trace that a call is part of ([`trace`]), the
//! measure of who takes more than a share ([`rate`]), what tenants may take of all processes together ([`limits`]), what is counted for each tenant ([`per_tenant`]) and the work that is done for it ([`work`]), and the way to a role in other processes ([`upstream`], [`tls`]).
//!
//! Every service is an [`HttpService`]: HTTP requests in, HTTP responses out. In one process it is called directly, across
//! processes through an [`upstream`]; the caller can't tell.

pub mod body;
pub mod context;
pub mod deadline;
mod error_reports;
pub mod exemplar;
mod idle;
pub mod lately;
pub mod limits;
mod linger;
pub mod openapi;
mod opening;
pub mod per_tenant;
pub mod protocol;
pub mod rate;
pub mod serve;
pub mod signed;
pub mod telemetry;
pub mod tls;
pub mod trace;
pub mod transcode;
pub mod upstream;
pub mod work;

use std::convert::Infallible;

/// The body of every request and response in the mesh.
pub type Body = tonic::body::Body;
/// A request.
pub type Request = http::Request<Body>;
/// A response.
pub type Response = http::Response<Body>;
/// A service, boxed: it never fails, it answers failures.
pub type HttpService = tower::util::BoxCloneSyncService<Request, Response, Infallible>;
