//! Compiles the contracts with protox, so that no protoc needs to be installed.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = ["common", "ingest", "query", "metrics", "admin"].map(|name| format!("penstock/v1/{name}.proto"));
    println!("cargo:rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Options beyond the standard ones (the HTTP mapping) survive only in these encoded bytes.
    fs::write(out.join("penstock.binpb"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .btree_map(".penstock.v1.ExplainResponse.parameters")
        .compile_fds(compiler.file_descriptor_set())?;
    raw_ingest();
    Ok(())
}

/// The server of the Ingest service once more, with its batches as they came.
fn raw_ingest() {
    use tonic_prost_build::manual::{Builder, Method, Service};
    let method = |name: &str, route: &str| {
        let method = Method::builder().name(name).route_name(route).output_type(format!("crate::v1::{route}Response"));
        method.codec_path("crate::raw::Codec")
    };
    let bytes = "prost::bytes::Bytes";
    let service = Service::builder()
        .name("IngestService")
        .package("penstock.v1")
        .method(method("publish", "Publish").input_type(bytes).build())
        .method(
            method("publish_stream", "PublishStream").input_type(bytes).client_streaming().server_streaming().build(),
        )
        .method(method("identify", "Identify").input_type(bytes).build());
    Builder::new().build_client(false).compile(&[service.build()]);
}
