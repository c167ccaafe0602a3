//! Compiles the contracts with protox, so that no protoc needs to be installed.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = ["common", "ingest", "query", "metrics", "dashboards", "admin", "public"]
        .map(|name| format!("penstock/v1/{name}.proto"));
    println!("cargo:rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Options beyond the standard ones (the HTTP mapping) survive only in these encoded bytes.
    fs::write(out.join("penstock.binpb"), compiler.encode_file_descriptor_set())?;

    tonic_prost_build::configure()
        .btree_map(".penstock.v1.ExplainResponse.parameters")
        .compile_fds(compiler.file_descriptor_set())?;
    raw_ingest(&out)
}

/// The Ingest service once more, server and client, with its batches as bytes.
fn raw_ingest(out: &Path) -> Result<(), Box<dyn Error>> {
    use tonic_prost_build::manual::{Builder, Method, Service};
    let service = |codec: &str| {
        let method = |name: &str, route: &str| {
            let output = format!("crate::v1::{route}Response");
            let method = Method::builder().name(name).route_name(route).codec_path(codec);
            method.input_type("prost::bytes::Bytes").output_type(output)
        };
        Service::builder()
            .name("IngestService")
            .package("penstock.v1")
            .method(method("publish", "Publish").build())
            .method(method("publish_stream", "PublishStream").client_streaming().server_streaming().build())
            .method(method("identify", "Identify").build())
            .build()
    };
    Builder::new().build_client(false).compile(&[service("crate::raw::Codec")]);
    let client = out.join("client"); // the files would have one name
    fs::create_dir_all(&client)?;
    Builder::new().build_server(false).out_dir(client).compile(&[service("crate::raw::ClientCodec")]);
    Ok(())
}
