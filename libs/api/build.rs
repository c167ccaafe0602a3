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
    Ok(())
}
