//! The metastore on SQLite: every promise of the traits, and what only a file can break.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{path::Path, sync::Arc};

use model::{AppId, PropertyKind, TenantId};
use storage::{Commit, MetaError, Metastore, Pending, Tenant, Topic, TouchedHour, conformance};
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
async fn metrics() {
    let folders = Folders::new();
    conformance::metrics(async || folders.metastore().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_file_has_everything() {
    let folder = TempDir::new().unwrap();
    let (acme, web) = (TenantId::new("acme").unwrap(), AppId::new("web").unwrap());
    let topic = Topic { name: "events".into(), incarnation: 3 };
    let tenant = Tenant { id: acme.clone(), display_name: "Acme".into(), created_at_ms: 1 };

    let store = open(folder.path()).await;
    store.create_tenant(&tenant).await.unwrap();
    let secret = store.secret("signing", || [7; 32]).await.unwrap();
    store.register(&acme, &web, &[("price", PropertyKind::Number)], 10).await.unwrap();
    let generation = store.claim(&topic, 0, "w").await.unwrap().generation;
    store.advance(&topic, 0, generation, 0, model::HOUR_MS).await.unwrap();
    store.begin(&topic, 0, generation, Pending { first: 0, last: 4, since_ms: 9 }).await.unwrap();
    let hours = vec![TouchedHour { tenant: acme.clone(), app: web.clone(), hour_ms: 0 }];
    store.commit(&topic, 0, generation, Commit { end: 5, frontier_ms: 0, hours }).await.unwrap();
    store.begin(&topic, 0, generation, Pending { first: 5, last: 6, since_ms: 10 }).await.unwrap();
    let before = store.epochs(&topic, &acme, &web, 0, model::HOUR_MS).await.unwrap();
    assert_eq!(before.0.len(), 1);
    drop(store); // not closed: as after a crash

    let store = open(folder.path()).await;
    assert_eq!(store.tenants().await.unwrap(), [tenant]);
    assert_eq!(store.secret("signing", || [8; 32]).await.unwrap(), secret);
    assert!(store.schema(&acme, &web).await.unwrap().slot("price", PropertyKind::Number).is_some());
    assert_eq!(store.epochs(&topic, &acme, &web, 0, model::HOUR_MS).await.unwrap(), before);
    assert!(store.claim(&topic, 0, "w").await.unwrap().generation > generation);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_file_at_once() {
    for _ in 0..5 {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("made/on/the/way");
        let opening: Vec<_> = (0..6)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { open(&path).await })
            })
            .collect();
        let mut stores = Vec::new();
        for task in opening {
            stores.push(task.await.unwrap());
        }
        let tenant = Tenant { id: TenantId::new("acme").unwrap(), display_name: String::new(), created_at_ms: 0 };
        stores[0].create_tenant(&tenant).await.unwrap();
        for store in &stores {
            assert_eq!(store.tenants().await.unwrap(), std::slice::from_ref(&tenant));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_opens_of_one_file_keep_the_ledgers_order() {
    let folder = TempDir::new().unwrap();
    let stores = [open(folder.path()).await, open(folder.path()).await];
    let topic = Topic { name: "events".into(), incarnation: 0 };
    // Two pools as two processes: each takes the partition from the other and goes on where the other stopped.
    for at in 0..20u64 {
        let store = &stores[at as usize % 2];
        let state = store.claim(&topic, 0, "w").await.unwrap();
        assert_eq!(state.committed, at);
        store.begin(&topic, 0, state.generation, Pending { first: at, last: at, since_ms: 0 }).await.unwrap();
        let commit = Commit { end: at + 1, frontier_ms: 0, hours: vec![] };
        store.commit(&topic, 0, state.generation, commit).await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_is_no_file_is_refused_without_its_password() {
    for address in ["postgres://u:hush@db/x", "mysql://u:hush@db/x", "hush", "sqlite:", "sqlite::memory:"] {
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
