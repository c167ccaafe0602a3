//! The public contract in Rust: generated messages, clients and servers, and the two translations that every service needs, written
//! once: wire values to and from [`model`] ([`convert`]), and errors to `google.rpc.Status` with details ([`status`]).

pub mod convert;
pub mod status;

/// The messages, clients and servers generated from `proto/penstock/v1`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub mod v1 {
    tonic::include_proto!("penstock.v1");
}

/// The compiled contracts with all they import: a `FileDescriptorSet` for reflection and for the JSON mapping.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/penstock.binpb"));

/// The `google.rpc.ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "penstock";
