//! The metastore on PostgreSQL: every promise of the traits, and what only a server on a network can break.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use storage::{
    Commit, Ledger, LedgerError, MetaError, Metastore, Pending, Topic,
    conformance::{self, stand::Server},
};
use tokio::{net::TcpListener, time::timeout};

/// How long a condition may take to become true on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Within which a call says that PostgreSQL can't be used, with room for a busy machine.
const BOUND: Duration = Duration::from_secs(20);

/// One server for all tests that don't hurt it.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::postgres)
}

async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
}

/// The address of a new empty database.
async fn new_database(server: &Server) -> String {
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let mut connection = connect(server.url()).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let (base, _) = server.url().rsplit_once('/').unwrap();
    format!("{base}/{name}")
}

async fn metastore() -> Arc<dyn Metastore> {
    storage::open(&new_database(server()).await).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn directory() {
    conformance::directory(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registry() {
    conformance::registry(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger() {
    conformance::ledger(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ledger_histories() {
    for _ in 0..2 {
        let seed = uuid::Uuid::new_v4().as_u64_pair().0;
        eprintln!("ledger history of seed {seed}");
        conformance::ledger_history(metastore, seed, 250).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures() {
    conformance::erasures(metastore).await;
}

#[tokio::test]
async fn brandings() {
    conformance::brandings(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboards() {
    conformance::dashboards(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn placements() {
    conformance::placements(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn usages() {
    conformance::usages(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes() {
    conformance::processes(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replays() {
    conformance::replays(metastore).await;
}

#[tokio::test]
async fn reports() {
    conformance::reports(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states() {
    conformance::states(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics() {
    conformance::metrics(metastore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opening() {
    conformance::opening(async || new_database(server()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn audit() {
    conformance::audit(async || new_database(server()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots() {
    let dir = tempfile::tempdir().unwrap();
    conformance::snapshots(async || new_database(server()).await, dir.path()).await;
}

#[tokio::test]
async fn an_audit_entry_can_not_be_changed_by_mistake() {
    let url = new_database(server()).await;
    let act = model::Act::default();
    storage::open(&url).await.unwrap().note(None, &act, &storage::Change::default()).await.unwrap();
    let mut connection = connect(&url).await;
    for change in ["UPDATE audit_entries SET object = 'x'", "DELETE FROM audit_entries", "TRUNCATE audit_entries"] {
        let refused = sqlx::query(change).execute(&mut connection).await.unwrap_err().to_string();
        assert!(refused.contains("only ever added"), "{refused}");
    }
}

/// Many processes register what overlaps: a slot is never given twice.
#[tokio::test(flavor = "multi_thread")]
async fn registries_of_several_processes_agree() {
    let url = new_database(server()).await;
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(storage::open(&format!("{url}?max_connections=2")).await.unwrap());
    }
    let (acme, web) = (model::TenantId::new("acme").unwrap(), model::AppId::new("web").unwrap());
    let tasks: Vec<_> = (0..8usize)
        .map(|task| {
            let (store, acme, web) = (Arc::clone(&stores[task % 4]), acme.clone(), web.clone());
            tokio::spawn(async move {
                for step in 0..10 {
                    let names: Vec<String> = (0..3).map(|i| format!("p{}", (step * 3 + i + task * 7) % 30)).collect();
                    let wanted: Vec<_> = names.iter().map(|n| (n.as_str(), model::PropertyKind::Number)).collect();
                    store.register(&acme, &web, &wanted, 100).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let schema = stores[0].schema(&acme, &web).await.unwrap();
    let own: Vec<_> = schema.properties().map(|p| p.slot).filter(|s| *s != model::Slot::NumberMap).collect();
    assert_eq!(schema.len(), 30);
    assert_eq!(own.len(), usize::from(model::NUMBER_SLOTS));
    assert_eq!(own.iter().collect::<std::collections::HashSet<_>>().len(), own.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_program_is_refused() {
    let url = new_database(server()).await;
    drop(storage::open(&url).await.unwrap());
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', TRUE, '\\x00', 0)";
    sqlx::query(newer).execute(&mut connect(&url).await).await.unwrap();
    let refused = storage::open(&url).await.err().unwrap();
    assert!(matches!(refused, MetaError::TooNew { found: 9999, .. }), "{refused:?}");
    assert!(refused.to_string().contains("run a newer program"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_one_from_opening_is_said_without_the_password() {
    let url = server().url();
    let password = url.split([':', '@']).nth(2).unwrap();
    let wrong_password = url.replace(password, "hush");
    let wrong_database = format!("{}/none", url.rsplit_once('/').unwrap().0);
    let nobody = "postgres://u:hush@127.0.0.1:1/x";
    let nonsense = "postgres://u:hu/sh@db:x/y";
    for (url, what) in [(&*wrong_password, "password"), (&wrong_database, "none"), (nobody, ""), (nonsense, "")] {
        let refused = timeout(BOUND, storage::open(url)).await.unwrap().err().unwrap().to_string();
        assert!(refused.contains(what) && !refused.contains("hu"), "{refused}");
        assert!(!refused.contains(password), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_can_not_hold_every_text_is_refused() {
    let name = format!("t{}", uuid::Uuid::new_v4().simple());
    let create = format!("CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(&mut connect(server().url()).await).await.unwrap();
    let url = format!("{}/{name}", server().url().rsplit_once('/').unwrap().0);
    let refused = storage::open(&url).await.err().unwrap();
    assert!(refused.to_string().contains("UTF8, not LATIN1"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_opens_no_more_connections_than_it_may() {
    let url = new_database(server()).await;
    let store = storage::open(&format!("{url}?max_connections=3")).await.unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.tenants().await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let open: i64 = sqlx::query_scalar(count).fetch_one(&mut connect(&url).await).await.unwrap();
    assert!((1..=3).contains(&open), "{open}");
}

/// Begins and commits one offset after another; what the ledger said is done must be there for good.
async fn work(store: &dyn Ledger, topic: &Topic, stop: &AtomicBool, refused: &AtomicBool) -> u64 {
    let mut done = 0;
    let mut generation = None;
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let step = async {
            let generation = match generation {
                Some(generation) => generation,
                None => {
                    let state = store.claim(topic, 0, "w").await?;
                    assert!(state.committed >= done, "{done} was committed, {} is left", state.committed);
                    done = state.committed;
                    generation = Some(state.generation);
                    state.generation
                }
            };
            store.begin(topic, 0, generation, Pending { first: done, last: done, since_ms: 0 }).await?;
            store.commit(topic, 0, generation, Commit { end: done + 1, frontier_ms: 0, hours: vec![] }).await
        };
        match step.await {
            Ok(()) => done += 1,
            Err(LedgerError::Meta(MetaError::Unavailable(_))) => {
                assert!(asked.elapsed() < BOUND, "it took {:?} to say so", asked.elapsed());
                refused.store(true, Ordering::Relaxed);
                generation = None; // whether it was committed is unknown: as a worker does, look
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_committed_is_lost_when_the_server_is_killed() {
    let server = Server::postgres();
    let url = new_database(&server).await;
    let store = storage::open(&url).await.unwrap();
    let topic = Topic { name: "events".into(), incarnation: 1 };
    let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let worker = {
        let (store, topic, stop, refused) =
            (Arc::clone(&store), topic.clone(), Arc::clone(&stop), Arc::clone(&refused));
        tokio::spawn(async move { work(&*store, &topic, &stop, &refused).await })
    };
    let committed = async || store.partitions(&topic).await.ok().and_then(|all| all.first().map(|p| p.committed));
    for _ in 0..3 {
        let before = committed().await.unwrap_or(0);
        eventually("work goes on", async || committed().await.is_some_and(|now| now > before + 20)).await;
        server.kill().await;
        refused.store(false, Ordering::Relaxed);
        eventually("the outage is told", async || refused.load(Ordering::Relaxed)).await;
        assert!(matches!(store.tenants().await, Err(MetaError::Unavailable(_))));
        server.start_again();
    }
    let before = committed().await.unwrap_or(0);
    eventually("work goes on", async || committed().await.is_some_and(|now| now > before + 20)).await;
    stop.store(true, Ordering::Relaxed);
    let done = timeout(PATIENCE, worker).await.unwrap().unwrap();
    assert_eq!(committed().await, Some(done));
}

/// Once the server can't be reached, nobody waits for it again and again.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_no_time_to_those_who_go_on_without() {
    let server = Server::postgres();
    let store = storage::open(&new_database(&server).await).await.unwrap();
    store.tenants().await.unwrap();
    server.kill().await;
    eventually("the outage is told", async || store.tenants().await.is_err()).await;
    // Far more calls than could wait one after another.
    let calls = async {
        for _ in 0..1000 {
            assert!(matches!(store.tenants().await, Err(MetaError::Unavailable(_))));
        }
    };
    assert!(timeout(PATIENCE, calls).await.is_ok());
    server.start_again();
    eventually("it is back", async || store.tenants().await.is_ok()).await;
}

/// A network that swallows everything: no call hangs, and the pool is whole again when the network is.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_is_an_outage_too() {
    let url = new_database(server()).await;
    let target = url.split(['@', '/']).nth(3).unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxied = url.replace(&target, &listener.local_addr().unwrap().to_string());
    let (silent, is_silent) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let (target, mut is_silent) = (target.clone(), is_silent.clone());
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(target).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                    _ = is_silent.wait_for(|silent| *silent) => {}
                }
                // Nothing is said any more, and nothing closed, until the network is back; then the connection is of no use.
                let _ = is_silent.wait_for(|silent| !*silent).await;
            });
        }
    });
    let store = storage::open(&format!("{proxied}?max_connections=2")).await.unwrap();
    let topic = Topic { name: "events".into(), incarnation: 1 };
    store.claim(&topic, 0, "w").await.unwrap();
    silent.send(true).unwrap();
    for _ in 0..3 {
        let lost = timeout(BOUND, store.claim(&topic, 0, "w")).await.expect("a call hangs");
        assert!(matches!(lost, Err(MetaError::Unavailable(_))), "{lost:?}");
    }
    silent.send(false).unwrap();
    eventually("it is back", async || store.claim(&topic, 0, "w").await.is_ok()).await;
}

async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never: {what}");
}
