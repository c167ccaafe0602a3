//! The metastore on SQLite: every promise of the traits, and what only a file can break.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{path::Path, sync::Arc};

use model::{Environment, Permission, TenantId};
use storage::{MetaError, Metastore, Places, Quota, Settings, conformance};
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

    /// Of one that isn't there yet, nor its folder.
    fn address(&self) -> String {
        let folder = tempfile::tempdir_in(&self.0).unwrap().keep();
        format!("sqlite://{}", folder.join("made/on/the/way/meta.db").display())
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

#[tokio::test]
async fn brandings() {
    let folders = Folders::new();
    conformance::brandings(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboards() {
    let folders = Folders::new();
    conformance::dashboards(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placements() {
    let folders = Folders::new();
    conformance::placements(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usages() {
    let folders = Folders::new();
    conformance::usages(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes() {
    let folders = Folders::new();
    conformance::processes(async || folders.metastore().await).await;
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
    conformance::opening(async || folders.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit() {
    let folders = Folders::new();
    conformance::audit(async || folders.address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots() {
    let folders = Folders::new();
    let dir = TempDir::new().unwrap();
    conformance::snapshots(async || folders.address(), dir.path()).await;
}

#[tokio::test]
async fn an_audit_entry_can_not_be_changed_by_mistake() {
    let folder = TempDir::new().unwrap();
    let act = model::Act::default();
    open(folder.path()).await.note(None, &act, &storage::Change::default()).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("meta.db"));
    let mut file = sqlx::ConnectOptions::connect(&options).await.unwrap();
    for change in ["UPDATE audit_entries SET object = 'x'", "DELETE FROM audit_entries"] {
        let refused = sqlx::query(change).execute(&mut file).await.unwrap_err().to_string();
        assert!(refused.contains("only ever added"), "{refused}");
    }
}

/// The tables themselves, past the metastore.
async fn tables(folder: &Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("meta.db"));
    sqlx::ConnectOptions::connect(&options).await.unwrap()
}

#[tokio::test]
async fn keys_of_before_exports_had_a_permission_can_do_what_they_could() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).await);
    let mut file = tables(folder.path()).await;
    let before = "DELETE FROM _sqlx_migrations WHERE version = 11; DROP INDEX api_keys_by_rotation; \
         ALTER TABLE api_keys DROP COLUMN environment; ALTER TABLE api_keys DROP COLUMN networks; \
         ALTER TABLE api_keys DROP COLUMN origins; ALTER TABLE api_keys DROP COLUMN rotated_from; \
         ALTER TABLE api_keys DROP COLUMN last_used_at_ms; INSERT INTO tenants VALUES ('acme', 'Acme', 1)";
    sqlx::raw_sql(before).execute(&mut file).await.unwrap();
    let old = ["query", "ingest query metrics", "ingest", "admin operator", ""];
    for (i, permissions) in old.into_iter().enumerate() {
        let insert = "INSERT INTO api_keys (id, tenant, hash, display_name, permissions, priority, created_at_ms) \
             VALUES ($1, 'acme', $2, '', $3, 'interactive', $4)";
        let key = sqlx::query(insert).bind(format!("k{i}")).bind("0".repeat(64)).bind(permissions).bind(i as i64);
        key.execute(&mut file).await.unwrap();
    }
    drop(file);
    let keys = open(folder.path()).await.keys(&TenantId::new("acme").unwrap()).await.unwrap();
    for (key, old) in keys.iter().zip(old) {
        let could = old.split_ascii_whitespace().map(|name| Permission::from_name(name).unwrap());
        let can = could.chain(old.contains("query").then_some(Permission::Export)).collect();
        assert_eq!(key.scope.permissions, can, "{old}");
        assert_eq!((key.environment, &key.places), (Environment::Live, &Places::default()));
    }
    assert_eq!(keys.len(), old.len());
}

#[tokio::test]
async fn quotas_and_retentions_of_before_are_settings() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).await);
    let mut file = tables(folder.path()).await;
    let before = "DELETE FROM _sqlx_migrations WHERE version = 18; DROP TABLE settings; \
         INSERT INTO tenants VALUES ('acme', 'Acme', 1), ('beta', 'Beta', 1), ('none', 'None', 1); \
         INSERT INTO apps VALUES ('acme', 'web', 'Web', 'Europe/Berlin', 1), ('acme', 'ios', 'iOS', 'UTC', 1); \
         INSERT INTO tenant_quotas (tenant, events_per_second, query_bytes_burst) VALUES ('acme', 7, 0); \
         INSERT INTO retentions VALUES ('acme', 'web', 0), ('beta', '', 30)";
    sqlx::raw_sql(before).execute(&mut file).await.unwrap();
    drop(file);
    let store = open(folder.path()).await;
    let (acme, web) = (TenantId::new("acme").unwrap(), model::AppId::new("web").unwrap());
    let of_web = store.settings(Some(&acme), Some(&web)).await.unwrap().effective();
    let quota = Quota { events_per_second: Some(7), query_bytes_burst: Some(0), ..Quota::default() };
    let time_zone = Some("Europe/Berlin".to_owned());
    assert_eq!(of_web, Settings { time_zone, retention_days: Some(0), quota, ..Settings::default() });
    let all = store.all_settings().await.unwrap();
    assert_eq!(all.at(&acme, None), &Settings { quota, ..Settings::default() });
    let days = |tenant: &str| all.at(&TenantId::new(tenant).unwrap(), None).retention_days;
    assert_eq!((days("beta"), days("none")), (Some(30), None));
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()).await);
    let mut file = tables(folder.path()).await;
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
