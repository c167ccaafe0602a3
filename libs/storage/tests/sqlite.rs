//! The metastore on SQLite: every promise of the traits, and what only a file can break.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{path::Path, sync::Arc};

use storage::{MetaError, Metastore, conformance};
use tempfile::TempDir;

async fn open(folder: &Path) -> Arc<dyn Metastore> {
    storage::open(&format!("sqlite://{}", folder.join("meta.db").display())).await.unwrap()
}

/// Makes new metastores in folders that last as long as the test.
struct Folders(TempDir);

impl Folders {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    async fn metastore(&self) -> Arc<dyn Metastore> {
        open(&tempfile::tempdir_in(&self.0).unwrap().keep()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directory() {
    let folders = Folders::new();
    conformance::directory(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registry() {
    let folders = Folders::new();
    conformance::registry(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger() {
    let folders = Folders::new();
    conformance::ledger(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_histories() {
    let folders = Folders::new();
    for _ in 0..4 {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        eprintln!("ledger history of seed {seed}");
        conformance::ledger_history(async || folders.metastore().await, seed, 250).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures() {
    let folders = Folders::new();
    conformance::erasures(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placements() {
    let folders = Folders::new();
    conformance::placements(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replays() {
    let folders = Folders::new();
    conformance::replays(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports() {
    let folders = Folders::new();
    conformance::reports(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states() {
    let folders = Folders::new();
    conformance::states(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics() {
    let folders = Folders::new();
    conformance::metrics(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opening() {
    let folders = Folders::new();
    conformance::opening(async || {
        let folder = tempfile::tempdir_in(&folders.0).unwrap().keep();
        format!("sqlite://{}", folder.join("made/on/the/way/meta.db").display())
    })
    .await;
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).await);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("meta.db"));
    let mut file = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&mut file).await.unwrap();
    let refused = storage::open(&format!("sqlite:{}", folder.path().join("meta.db").display())).await.err().unwrap();
    assert!(matches!(refused, MetaError::TooNew { found: 9999, .. }), "{refused:?}");
}

#[tokio::test]
async fn an_address_that_is_no_file_is_refused_without_its_password() {
    for address in ["mysql://u:hush@db/x", "hush", "sqlite:", "sqlite::memory:"] {
        let Err(error) = storage::open(address).await else { panic!("{address} was opened") };
        assert!(matches!(error, MetaError::Address(_)), "{error:?}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("meta.db");
    std::fs::write(&path, "not a database, but long enough to be taken for one".repeat(200)).unwrap();
    assert!(storage::open(&format!("sqlite:{}", path.display())).await.is_err());
}
