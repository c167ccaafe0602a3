//! The public contract in Rust: generated messages, clients and servers, and the two translations that every service needs, written
//! once: wire values to and from [`model`] ([`convert`]), and errors to `google.rpc.Status` with details ([`status`]).

use std::{collections::HashSet, sync::LazyLock};

use prost_reflect::{DescriptorPool, MethodDescriptor, SerializeOptions};

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

/// How messages are said in JSON, everywhere: field names as in the contracts, and fields at their default shown, since a count of 0 is an
/// answer.
pub fn json() -> SerializeOptions {
    SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false).stringify_64_bit_integers(false)
}

/// Whether the contract says of the gRPC method at `path` (`/penstock.v1.QueryService/Sql`) that it changes nothing.
pub fn is_read(path: &str) -> bool {
    use prost_types::method_options::IdempotencyLevel;
    static READS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let reads = methods().into_iter().filter(|method| {
            let options = method.method_descriptor_proto().options.as_ref();
            options.is_some_and(|o| o.idempotency_level() == IdempotencyLevel::NoSideEffects)
        });
        reads.map(|method| grpc_path(&method)).collect()
    });
    READS.contains(path)
}

/// Whether what is called at `path`, by gRPC or by HTTP as the contract maps it, answers with a stream.
pub fn is_stream(path: &str) -> bool {
    static STREAMS: LazyLock<HashSet<String>> = LazyLock::new(|| {
        let streams = methods().into_iter().filter(MethodDescriptor::is_server_streaming);
        streams.flat_map(|method| [Some(grpc_path(&method)), posted_to(&method)]).flatten().collect()
    });
    STREAMS.contains(path)
}

fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the compiled contracts are well formed");
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

fn grpc_path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Where HTTP posts it to.
fn posted_to(method: &MethodDescriptor) -> Option<String> {
    let http = method.parent_pool().get_extension_by_name("google.api.http")?;
    let options = method.options();
    let rule = options.get_extension(&http);
    let path = rule.as_message()?.get_field_by_name("post")?;
    Some(path.as_str()?.to_owned()).filter(|path| !path.is_empty())
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

    #[test]
    fn streams_are_told_from_single_answers() {
        for (path, stream) in [
            ("/penstock.v1.QueryService/SqlStream", true),
            ("/penstock.v1.QueryService/Subscribe", true),
            ("/penstock.v1.IngestService/PublishStream", true),
            ("/v1/sql:stream", true),
            ("/v1/subscribe", true),
            ("/penstock.v1.QueryService/Sql", false),
            ("/v1/sql", false),
            ("", false),
        ] {
            assert_eq!(super::is_stream(path), stream, "{path}");
        }
    }
}
