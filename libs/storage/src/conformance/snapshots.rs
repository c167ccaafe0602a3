use std::{collections::BTreeMap, path::Path};

use model::{Act, AppSet, HOUR_MS, PropertyKind};
use sqlx::{AssertSqlSafe, Connection, Row, SqliteConnection, TypeInfo, ValueRef, sqlite::SqliteRow};

use super::{app, directory::a_key, tenant};
use crate::{App, Commit, MetaError, Metastore, Pending, Tenant, Topic, TouchedHour};

/// A copy has everything, and what is made of one is what was copied, whichever databases they are. `place` names a new empty metastore by its address;
/// `dir` is an empty directory.
pub async fn snapshots(place: impl AsyncFn() -> String, dir: &Path) {
    let first = crate::open(&place().await).await.unwrap();
    assert!(first.is_empty().await.unwrap());
    something_of_everything(&*first).await;
    assert!(!first.is_empty().await.unwrap());
    let [one, two, three] = ["one", "two", "three"].map(|name| dir.join(name));
    first.snapshot(&one).await.unwrap();
    let rows = rows(&one).await;
    let filled = rows.iter().filter(|(_, rows)| !rows.is_empty()).map(|(table, _)| table.as_str());
    let filled: Vec<_> = filled.collect();
    assert!(!filled.contains(&"ledger_marks"), "what they tell of isn't so of what is restored");
    let expected = [
        "api_keys",
        "apps",
        "audit_entries",
        "ledger_epochs",
        "ledger_partitions",
        "ledger_topics",
        "properties",
        "secrets",
        "tenants",
    ];
    assert!(expected.iter().all(|table| filled.contains(table)), "{filled:?}");

    // By a file of its own into the other database and back.
    let between = crate::open(&format!("sqlite:{}", dir.join("between.db").display())).await.unwrap();
    between.fill(&one).await.unwrap();
    between.snapshot(&two).await.unwrap();
    let last = crate::open(&place().await).await.unwrap();
    last.fill(&two).await.unwrap();
    last.snapshot(&three).await.unwrap();
    for copy in [&two, &three] {
        assert_eq!(self::rows(copy).await, rows);
    }

    // It is a metastore like any other, and no second one goes in.
    let again = last.fill(&two).await.unwrap_err();
    assert!(matches!(again, MetaError::AlreadyExists(_)), "{again}");
    let (acme, web) = (tenant("acme"), app("web"));
    assert_eq!(last.tenants().await.unwrap(), first.tenants().await.unwrap());
    assert!(last.schema(&acme, &web).await.unwrap().slot(ODD, PropertyKind::String).is_some());
    let topic = Topic { name: "events".into(), incarnation: 3 };
    let (before, after) = (first.partitions(&topic).await.unwrap(), last.partitions(&topic).await.unwrap());
    assert_eq!(before, after);
    assert!(last.claim(&topic, 0, "w").await.unwrap().generation > before[0].generation);
    last.create_app(&App { id: app("more"), ..an_app() }).await.unwrap();
    assert_eq!(first.incarnation("events", "a", 9).await.unwrap(), last.incarnation("events", "a", 9).await.unwrap());
}

/// What a text may have that a format of lines and columns has to say otherwise.
const ODD: &str = "a\tb\\n\\N\"'ä\u{1F600}";

fn an_app() -> App {
    App {
        tenant: tenant("acme"),
        id: app("web"),
        display_name: format!("{ODD}\nand\r\n\\"),
        time_zone: "UTC".into(),
        created_at_ms: i64::MAX,
    }
}

async fn something_of_everything(store: &dyn Metastore) {
    let (acme, web) = (tenant("acme"), app("web"));
    let topic = Topic { name: "events".into(), incarnation: 3 };
    store.create_tenant(&Tenant { id: acme.clone(), display_name: String::new(), created_at_ms: -1 }).await.unwrap();
    store.create_app(&an_app()).await.unwrap();
    store.create_key(&a_key("acme", "k", AppSet::All, 3)).await.unwrap();
    store.secret("signing", || [7; 32]).await.unwrap();
    store.incarnation("events", "a", 5).await.unwrap();
    store.register(&acme, &web, &[("price", PropertyKind::Number), (ODD, PropertyKind::String)], 10).await.unwrap();
    let generation = store.claim(&topic, 0, "w").await.unwrap().generation;
    store.advance(&topic, 0, generation, 0, HOUR_MS).await.unwrap();
    store.begin(&topic, 0, generation, Pending { first: 0, last: 4, since_ms: 9 }).await.unwrap();
    let hours = (0..500).map(|hour| TouchedHour { tenant: acme.clone(), app: web.clone(), hour_ms: hour * HOUR_MS });
    store.commit(&topic, 0, generation, Commit { end: 5, frontier_ms: 0, hours: hours.collect() }).await.unwrap();
    store.begin(&topic, 0, generation, Pending { first: 5, last: 6, since_ms: 10 }).await.unwrap();
    store.mark(&acme, &web, 9).await.unwrap();
    store.note(Some(&acme), &Act::default(), &crate::Change::default()).await.unwrap();
}

/// All rows of a copy by table, but those of states.
async fn rows(copy: &Path) -> BTreeMap<String, Vec<String>> {
    let mut file = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.unwrap();
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('_sqlx_migrations', 'state_lives', 'bucket_states')";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut file).await.unwrap();
    let mut all = BTreeMap::new();
    for name in names {
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM \"{name}\""))).fetch_all(&mut file).await.unwrap();
        let text = |row: &SqliteRow| {
            let cell = |at: usize| {
                let raw = row.try_get_raw(at).unwrap();
                match raw.type_info().name() {
                    "NULL" => "NULL".to_owned(),
                    "INTEGER" => row.get::<i64, _>(at).to_string(),
                    _ => format!("{:?}", row.get::<String, _>(at)),
                }
            };
            (0..row.len()).map(cell).collect::<Vec<_>>().join(",")
        };
        let mut rows: Vec<_> = rows.iter().map(text).collect();
        rows.sort();
        all.insert(name, rows);
    }
    all
}
