//! The public contract in Rust: generated messages, clients and servers, and the two translations that every service needs, written
//! once: wire values to and from [`model`] ([`convert`]), and errors to `google.rpc.Status` with details ([`status`]).

use std::{collections::HashSet, sync::LazyLock};

use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions, prost::Message,
};

use template::Template;

pub mod convert;
pub mod raw;
pub mod status;
pub mod template;

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

/// The contract's message of that name as JSON text without what is at its default: how such a thing is kept where people may look at it. An
/// error says what of it has no JSON: a time or a duration out of its range, which only Protobuf can bring.
///
/// # Panics
/// If the contracts have no such message.
pub fn to_text<M: Message>(name: &str, message: &M) -> Result<String, String> {
    let descriptor = POOL.get_message_by_name(&format!("penstock.v1.{name}")).expect("the contracts have it");
    let message = DynamicMessage::decode(descriptor, &*message.encode_to_vec()).expect("it is one of these");
    let (mut text, plain) = (Vec::new(), json().skip_default_fields(true));
    let written = message.serialize_with_options(&mut serde_json::Serializer::new(&mut text), &plain);
    written.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(text).expect("JSON is UTF-8"))
}

/// What [`to_text`] wrote; what a newer program put into it besides is left out. An error says what else it is.
pub fn of_text<M: Message + Default>(name: &str, text: &str) -> Result<M, String> {
    let descriptor = POOL.get_message_by_name(&format!("penstock.v1.{name}")).ok_or("no message of the contracts")?;
    let (mut json, lenient) =
        (serde_json::Deserializer::from_str(text), DeserializeOptions::new().deny_unknown_fields(false));
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut json, &lenient);
    message.map_err(|e| e.to_string())?.transcode_to().map_err(|e| e.to_string())
}

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).expect("the compiled contracts are well formed"));

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
    static STREAMS: LazyLock<(HashSet<String>, Vec<Template>)> = LazyLock::new(|| {
        let streams: Vec<_> = methods().into_iter().filter(MethodDescriptor::is_server_streaming).collect();
        let posted = streams.iter().filter_map(posted_to).map(|path| Template::parse(&path));
        (streams.iter().map(grpc_path).collect(), posted.collect())
    });
    let (grpc, posted) = &*STREAMS;
    grpc.contains(path) || posted.iter().any(|template| template.matches(path).is_some())
}

/// Whether the gRPC method at `path` takes a stream. HTTP maps none of these.
pub fn takes_stream(path: &str) -> bool {
    static TAKERS: LazyLock<HashSet<String>> =
        LazyLock::new(|| methods().iter().filter(|method| method.is_client_streaming()).map(grpc_path).collect());
    TAKERS.contains(path)
}

fn methods() -> Vec<MethodDescriptor> {
    POOL.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
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
            ("/penstock.v1.MetricsService/SubscribeMetric", true),
            ("/v1/apps/shop/metrics/revenue:subscribe", true),
            ("/v1/apps/shop/metrics/revenue:evaluate", false),
            ("/v1/apps/shop/metrics/:subscribe", false),
            ("/v1/apps/shop/metrics/a/b:subscribe", false),
            ("/v1/apps/shop/metrics", false),
            ("/penstock.v1.QueryService/Sql", false),
            ("/v1/sql", false),
            ("", false),
        ] {
            assert_eq!(super::is_stream(path), stream, "{path}");
        }
    }
}
