use std::path::Path;
use std::process::Command;

use crate::harness::Warehouse;

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_reads_and_writes() {
    let warehouse = Warehouse::start().await;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.ancestors().map(|d| d.join(".tools/venv/bin/python")).find(|p| p.exists());
    let python = python.expect("no .tools/venv: run `make venv` (deploy/test/requirements.txt)");
    let port = warehouse.address.port().to_string();
    let output = Command::new(python).arg(here.join("tests/python_client.py")).arg(port).output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
