//! The public contract in Rust: generated messages, clients and servers, and the two translations that every service needs, written
//! once: wire values to and from [`model`] ([`convert`]), and errors to `google.rpc.Status` with details ([`status`]).

use std::{collections::HashSet, sync::LazyLock};

pub mod convert;
pub mod raw;
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

/// Whether the contract says of the gRPC method at `path` (`/penstock.v1.QueryService/Sql`) that it changes nothing.
pub fn is_read(path: &str) -> bool {
    use prost_types::method_options::IdempotencyLevel;
    static READS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let pool = prost_reflect::DescriptorPool::decode(DESCRIPTORS).expect("the compiled contracts are well formed");
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let reads = methods.filter(|method| {
            let options = method.method_descriptor_proto().options.as_ref();
            options.is_some_and(|o| o.idempotency_level() == IdempotencyLevel::NoSideEffects)
        });
        reads.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
    });
    READS.contains(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_are_told_from_what_changes_something() {
        for (path, read) in [
            ("/penstock.v1.QueryService/SqlStream", true),
            ("/penstock.v1.MetricsService/Evaluate", true),
            ("/penstock.v1.MetricsService/CreateMetric", false),
            ("/penstock.v1.AdminService/CreateKey", false),
            ("/penstock.v1.IngestService/Publish", false),
            ("/penstock.v1.QueryService/Nothing", false),
        ] {
            assert_eq!(super::is_read(path), read, "{path}");
        }
    }
}
