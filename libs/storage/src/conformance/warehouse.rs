use std::time::Duration;

use model::{DAY_MS, HOUR_MS, PropertyKind, Slot, record::ValueRef};

use super::{app, tenant};
use crate::warehouse::{
    Cell, DaysOfPartition, ErasedUser, EventColumns, EventRow, QuerySettings, Reason, UncountedColumns, UncountedRow,
    UserColumns, UserRow, Warehouse, WarehouseError, param,
};

const DAY: i64 = 19_675 * DAY_MS;
/// More than the server puts into one block unless it is told to.
const LARGE: u64 = 1_100_000;
/// Texts that would break a careless quoting.
const NASTY: [&str; 8] = ["", "it's", "a\\b", "tab\there", "line\nbreak\r", "nul\0in", "\\N", "ünï 🦀 {x: String} ?"];

/// What the pipeline and the queries rely on, against a server of which the warehouse's database is not there yet.
pub async fn warehouse(warehouse: &Warehouse) {
    warehouse.ping().await.unwrap();
    migrations_run_again_and_at_once(warehouse).await;
    an_event_comes_back_as_it_was_sent(warehouse).await;
    a_user_comes_back_as_sent(warehouse).await;
    what_does_not_count_comes_back_as_sent(warehouse).await;
    nasty_texts_survive_columns_and_parameters(warehouse).await;
    a_token_counts_once(warehouse).await;
    users_are_counted_by_day(warehouse).await;
    a_day_expires_for_whom_it_is_due(warehouse).await;
    a_large_block_is_one_part(warehouse).await;
    limits_and_refusals_are_told_apart(warehouse).await;
    a_dropped_stream_stops_its_query(warehouse).await;
    an_erased_user_is_gone_and_no_other(warehouse).await;
}

fn row<'a>(event_type: &'a str, event_id: &'a str, offset: u64) -> EventRow<'a> {
    EventRow {
        tenant: "acme",
        app: "web",
        event_type,
        timestamp_ms: DAY + 1,
        user_id: "u1",
        event_id,
        country: None,
        plan: None,
        received_at_ms: DAY + 2,
        incarnation: u64::MAX,
        partition: 3,
        offset,
    }
}

fn settings() -> QuerySettings {
    QuerySettings { max_execution_time: Some(Duration::from_secs(60)), ..QuerySettings::default() }
}

async fn rows(warehouse: &Warehouse, statement: &str, params: &[(&str, String)]) -> Vec<Vec<Cell>> {
    warehouse.select(statement, params, &settings()).unwrap().collect().await.unwrap()
}

async fn count(warehouse: &Warehouse, event_type: &str) -> i64 {
    let statement = "SELECT count() FROM events WHERE event = {event: String}";
    match rows(warehouse, statement, &[("event", param::string(event_type))]).await[0][0] {
        Cell::Integer(count) => count,
        ref other => panic!("{other:?}"),
    }
}

fn text(text: &str) -> Cell {
    Cell::String(text.to_owned())
}

async fn migrations_run_again_and_at_once(warehouse: &Warehouse) {
    let (first, second) = tokio::join!(warehouse.migrate(), warehouse.migrate());
    first.unwrap();
    second.unwrap();
    warehouse.migrate().await.unwrap();
    assert_eq!(count(warehouse, "none").await, 0);
}

async fn an_event_comes_back_as_it_was_sent(warehouse: &Warehouse) {
    let mut events = EventColumns::for_day_of(DAY);
    events.push(&row("shape", "bare", 1)).unwrap();
    events.push(&EventRow { country: Some("DE"), plan: Some(""), ..row("shape", "full", 2) }).unwrap();
    for (slot, name, kind, value) in [
        (Slot::Number(0), "price", PropertyKind::Number, ValueRef::Number(-0.1)),
        (Slot::Number(15), "paid", PropertyKind::Bool, ValueRef::Number(1.0)),
        (Slot::Text(0), "status", PropertyKind::String, ValueRef::Text("done")),
        (Slot::Text(15), "empty", PropertyKind::String, ValueRef::Text("")),
        (Slot::NumberMap, "x", PropertyKind::Number, ValueRef::Number(f64::MAX)),
        (Slot::NumberMap, "x", PropertyKind::Time, ValueRef::Number(5.0)),
        (Slot::TextMap, "x", PropertyKind::String, ValueRef::Text("more")),
    ] {
        events.set(slot, name, kind, value).unwrap();
    }
    events.push(&row("shape", "last", 3)).unwrap();
    warehouse.insert(&events, "shape").await.unwrap();

    let statement = "SELECT event_id, tenant, app, user, ts, received_at, country, plan, n0, n15, s0, s15, \
         n_more['x'], n_more[concat('x', char(0), 'time')], s_more['x'], length(n_more), _incarnation = 18446744073709551615, \
         _partition, _offset FROM events WHERE event = 'shape' ORDER BY _offset";
    use Cell::{Integer, Null, Number, Time};
    let bare = |id: &str, offset: i64| {
        let mut cells = vec![text(id), text("acme"), text("web"), text("u1"), Time(DAY + 1), Time(DAY + 2)];
        cells.extend([Null, Null, Null, Null, Null, Null, Number(0.0), Number(0.0), text("")]);
        cells.extend([Integer(0), Integer(1), Integer(3), Integer(offset)]);
        cells
    };
    let mut full = vec![text("full"), text("acme"), text("web"), text("u1"), Time(DAY + 1), Time(DAY + 2)];
    full.extend([text("DE"), text(""), Number(-0.1), Number(1.0), text("done"), text("")]);
    full.extend([Number(f64::MAX), Number(5.0), text("more"), Integer(2), Integer(1), Integer(3), Integer(2)]);
    assert_eq!(rows(warehouse, statement, &[]).await, [bare("bare", 1), full, bare("last", 3)]);
}

async fn a_user_comes_back_as_sent(warehouse: &Warehouse) {
    let mut users = UserColumns::default();
    for (user_id, country, offset) in [("u1", Some("DE"), 1), ("u2", None, 2)] {
        users.push(&UserRow {
            tenant: "acme",
            app: "web",
            user_id,
            country,
            plan: Some("pro"),
            received_at_ms: DAY,
            incarnation: 1,
            partition: 0,
            offset,
        });
    }
    users.set("age", PropertyKind::Number, ValueRef::Number(30.0));
    users.set("name", PropertyKind::String, ValueRef::Text("Ada"));
    for _ in 0..2 {
        warehouse.insert(&users, "users").await.unwrap();
    }
    let statement = "SELECT user, country, plan, received_at, n_more['age'], s_more['name'] FROM users ORDER BY user";
    let first = [text("u1"), text("DE"), text("pro"), Cell::Time(DAY), Cell::Number(0.0), text("")];
    let second = [text("u2"), Cell::Null, text("pro"), Cell::Time(DAY), Cell::Number(30.0), text("Ada")];
    assert_eq!(rows(warehouse, statement, &[]).await, [first, second]);
}

async fn what_does_not_count_comes_back_as_sent(warehouse: &Warehouse) {
    let row = UncountedRow {
        tenant: "acme",
        app: "web",
        reason: Reason::DeadLetter,
        user_id: "u1",
        event_id: "e1",
        received_at_ms: now_ms(),
        record: b"\x00\xff any bytes",
        incarnation: u64::MAX,
        partition: 3,
        offset: 1,
    };
    let mut columns = UncountedColumns::default();
    columns.push(&row);
    columns.push(&UncountedRow { reason: Reason::Damaged, tenant: "", app: "", offset: 2, ..row });
    warehouse.insert(&columns, "uncounted").await.unwrap();
    warehouse.insert(&columns, "uncounted").await.unwrap();
    let statement = "SELECT tenant, app, reason, user, event_id, received_at, hex(record), _incarnation = 18446744073709551615, \
         _partition, _offset FROM uncounted ORDER BY _offset";
    let wanted = |tenant: &str, app: &str, reason: Reason, offset: i64| {
        let mut cells =
            vec![text(tenant), text(app), text(reason.name()), text("u1"), text("e1"), Cell::Time(row.received_at_ms)];
        cells.extend([text("00FF20616E79206279746573"), Cell::Integer(1), Cell::Integer(3), Cell::Integer(offset)]);
        cells
    };
    let wanted = [wanted("acme", "web", Reason::DeadLetter, 1), wanted("", "", Reason::Damaged, 2)];
    assert_eq!(rows(warehouse, statement, &[]).await, wanted);
}

/// What is older than it is kept for would be gone.
fn now_ms() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

async fn nasty_texts_survive_columns_and_parameters(warehouse: &Warehouse) {
    let mut events = EventColumns::for_day_of(DAY);
    for (offset, nasty) in (0..).zip(NASTY) {
        events.push(&row("nasty", nasty, offset)).unwrap();
        events.set(Slot::Text(0), "x", PropertyKind::String, ValueRef::Text(nasty)).unwrap();
    }
    warehouse.insert(&events, "nasty").await.unwrap();
    for nasty in NASTY {
        let found = "SELECT event_id, s0 FROM events WHERE event = 'nasty' AND s0 = {x: String}";
        let found = rows(warehouse, found, &[("x", param::string(nasty))]).await;
        assert_eq!(found, [[text(nasty), text(nasty)]], "{nasty:?}");
    }
    let all = "SELECT count() FROM events WHERE event = 'nasty' AND s0 IN {xs: Array(String)}";
    assert_eq!(rows(warehouse, all, &[("xs", param::strings(NASTY))]).await, [[Cell::Integer(8)]]);
    let null = rows(warehouse, "SELECT {x: Nullable(String)}", &[("x", param::NULL.to_owned())]).await;
    assert_eq!(null, [[Cell::Null]]);
}

async fn a_token_counts_once(warehouse: &Warehouse) {
    let block = |event_id: &str| {
        let mut events = EventColumns::for_day_of(DAY);
        events.push(&row("token", event_id, 0)).unwrap();
        events
    };
    for event_id in ["a", "a", "b"] {
        warehouse.insert(&block(event_id), "token:1").await.unwrap();
    }
    assert_eq!(count(warehouse, "token").await, 1); // the first insert wins, whatever the retry holds
    let first = rows(warehouse, "SELECT event_id FROM events WHERE event = 'token'", &[]).await;
    assert_eq!(first, [[text("a")]]);
    warehouse.insert(&block("a"), "token:2").await.unwrap();
    assert_eq!(count(warehouse, "token").await, 2); // alike, but another block
}

/// Each insert counts once in the table and in the rollup, and what one of them misses is seen and mended.
async fn users_are_counted_by_day(warehouse: &Warehouse) {
    let day = DAY + 5 * DAY_MS;
    let days_ms = vec![day - DAY_MS, day, day + DAY_MS];
    let of_days = DaysOfPartition { days_ms: days_ms.clone(), incarnation: u64::MAX, partition: 3 };
    let other = DaysOfPartition { partition: 4, days_ms, ..of_days };
    let block = |partition: u32, first: u64| {
        let mut events = EventColumns::for_day_of(day);
        for offset in first..first + 6 {
            let user_id = ["", "u1", "it's"][offset as usize % 3];
            let row = row("daily", "", offset);
            events.push(&EventRow { timestamp_ms: day + offset as i64, user_id, partition, ..row }).unwrap();
        }
        events
    };
    for (partition, first, token) in [(3, 0, "a"), (3, 6, "b"), (3, 6, "b"), (4, 0, "c")] {
        warehouse.insert(&block(partition, first), token).await.unwrap();
    }
    let statement = "SELECT user, day, sum(events) FROM daily_users WHERE tenant = 'acme' \
        AND toUnixTimestamp64Milli(day) = {day: Int64} GROUP BY user, day ORDER BY user";
    let params = [("day", day.to_string())];
    let expected = ["", "it's", "u1"].map(|user| vec![text(user), Cell::Time(day), Cell::Integer(6)]);
    assert_eq!(rows(warehouse, statement, &params).await, expected);

    // What a server may leave behind that dies amid an insert: a part in the rollup alone, a part in the events alone. And of a user who was
    // erased before the rest was there, only the rollup.
    let rows_of_day = format!("_partition = 3 AND toUnixTimestamp64Milli(day) = {day}");
    for damage in [
        format!("INSERT INTO daily_users SELECT * FROM daily_users WHERE {rows_of_day} AND user = 'u1'"),
        format!("ALTER TABLE daily_users DELETE WHERE {rows_of_day} AND user = '' SETTINGS mutations_sync = 2"),
        format!(
            "INSERT INTO daily_users SELECT * REPLACE('gone' AS user) FROM \
             (SELECT * FROM daily_users WHERE {rows_of_day} AND user = 'u1')"
        ),
    ] {
        assert_eq!(warehouse.daily_users_differ(&of_days).await.unwrap(), [0_i64; 0]);
        warehouse.execute(&damage, &[]).await.unwrap();
        assert_eq!(warehouse.daily_users_differ(&of_days).await.unwrap(), [day], "{damage}");
        assert_eq!(warehouse.daily_users_differ(&other).await.unwrap(), [0_i64; 0]);
        warehouse.settle_daily_users(&of_days).await.unwrap();
        assert_eq!(rows(warehouse, statement, &params).await, expected);
    }
}

async fn a_day_expires_for_whom_it_is_due(warehouse: &Warehouse) {
    let days = [DAY - 9 * DAY_MS, DAY - 8 * DAY_MS];
    for day in days {
        let mut events = EventColumns::for_day_of(day);
        for (tenant, app) in [("acme", "web"), ("acme", "ios"), ("beta", "web")] {
            events.push(&EventRow { tenant, app, timestamp_ms: day, ..row("expires", "e", 1) }).unwrap();
        }
        warehouse.insert(&events, &format!("expires {day}")).await.unwrap();
    }
    assert_eq!(warehouse.days().await.unwrap()[..2], days);
    let (acme, beta) = (tenant("acme"), tenant("beta"));
    let due = [(acme.clone(), app("ios")), (acme.clone(), app("web"))];
    assert_eq!(warehouse.apps_of_day(days[0], std::slice::from_ref(&acme)).await.unwrap(), due);
    assert_eq!(warehouse.apps_of_day(days[0] - DAY_MS, &[acme.clone(), beta.clone()]).await.unwrap(), []);

    warehouse.expire(days[0], &due[1..]).await.unwrap();
    let left = [(acme.clone(), app("ios")), (beta.clone(), app("web"))];
    assert_eq!(warehouse.apps_of_day(days[0], &[acme.clone(), beta.clone()]).await.unwrap(), left);
    assert_eq!(count(warehouse, "expires").await, 5, "the other day is whole");
    for day in days {
        warehouse.expire(day, &[left[0].clone(), due[1].clone(), left[1].clone()]).await.unwrap();
    }
    assert_eq!(count(warehouse, "expires").await, 0);

    // Far ahead: what is old the table keeps no longer by itself.
    let late = 40_000 * DAY_MS;
    let mut records = UncountedColumns::default();
    for (id, received_at_ms) in [("old", late), ("new", late + 1)] {
        records.push(&UncountedRow {
            tenant: "expires",
            app: "web",
            reason: Reason::DeadLetter,
            user_id: "",
            event_id: id,
            received_at_ms,
            record: &[],
            incarnation: 1,
            partition: 0,
            offset: 0,
        });
    }
    warehouse.insert(&records, "expires uncounted").await.unwrap();
    let due = [(tenant("expires"), app("web"), late + 1)];
    assert_eq!(warehouse.uncounted_before(&due).await.unwrap().len(), 1);
    warehouse.expire_uncounted(&due).await.unwrap();
    assert_eq!(warehouse.uncounted_before(&due).await.unwrap(), []);
    let left = "SELECT event_id FROM uncounted WHERE tenant = 'expires'";
    assert_eq!(rows(warehouse, left, &[]).await, [[text("new")]]);
}

async fn a_large_block_is_one_part(warehouse: &Warehouse) {
    let mut events = EventColumns::for_day_of(DAY + DAY_MS);
    for offset in 0..LARGE {
        let user_id = (offset / 2).to_string();
        events.push(&EventRow { timestamp_ms: DAY + DAY_MS, user_id: &user_id, ..row("large", "e", offset) }).unwrap();
    }
    for _ in 0..2 {
        warehouse.insert(&events, "large").await.unwrap();
    }
    assert_eq!(count(warehouse, "large").await, LARGE as i64);
    let parts = "SELECT uniqExact(_part), max(_offset) FROM events WHERE event = 'large'";
    assert_eq!(rows(warehouse, parts, &[]).await, [[Cell::Integer(1), Cell::Integer(LARGE as i64 - 1)]]);
    let rolled_up = "SELECT uniqExact(_part), count(), sum(events) FROM daily_users \
        WHERE day = (SELECT max(toStartOfDay(ts)) FROM events WHERE event = 'large')";
    let (users, events) = (Cell::Integer(LARGE as i64 / 2), Cell::Integer(LARGE as i64));
    assert_eq!(rows(warehouse, rolled_up, &[]).await, [[Cell::Integer(1), users, events]]);
}

async fn limits_and_refusals_are_told_apart(warehouse: &Warehouse) {
    let ask = async |statement: &str, settings: &QuerySettings| {
        let stream = warehouse.select(statement, &[], settings).unwrap();
        stream.collect().await.unwrap_err()
    };
    let endless = "SELECT max(cityHash64(number)) FROM system.numbers";
    let short = QuerySettings { max_execution_time: Some(Duration::from_millis(200)), ..QuerySettings::default() };
    let error = ask(endless, &short).await;
    assert!(matches!(error, WarehouseError::Timeout(_)), "{error:?}");

    let small = QuerySettings { max_memory_bytes: Some(20 << 20), ..settings() };
    let error =
        ask("SELECT length(groupArray(number)) FROM (SELECT number FROM system.numbers LIMIT 50000000)", &small).await;
    assert!(matches!(error, WarehouseError::Memory(_)), "{error:?}");

    let few = QuerySettings { max_rows_to_read: Some(1000), ..settings() };
    let error = ask("SELECT sum(_offset) FROM events WHERE event = 'large'", &few).await;
    assert!(matches!(error, WarehouseError::TooLarge(_)), "{error:?}");

    let before = count(warehouse, "shape").await;
    for statement in
        ["DROP TABLE events", "INSERT INTO events SELECT * FROM events", "ALTER TABLE events DELETE WHERE 1"]
    {
        ask(statement, &settings()).await;
    }
    assert_eq!(count(warehouse, "shape").await, before);

    let error = ask("SELECT nonsense FROM events", &settings()).await;
    assert!(matches!(error, WarehouseError::Rejected { .. }), "{error:?}");
}

async fn a_dropped_stream_stops_its_query(warehouse: &Warehouse) {
    let running = async || {
        let statement = "SELECT count() FROM system.processes WHERE query LIKE '%a_stream_to_drop%' AND query NOT LIKE '%processes%'";
        rows(warehouse, statement, &[]).await[0][0] == Cell::Integer(1)
    };
    let until = async |wanted: bool| while running().await != wanted {};
    let endless = "SELECT max(cityHash64(number)) AS a_stream_to_drop FROM system.numbers";
    let mut stream = warehouse.select(endless, &[], &settings()).unwrap();
    tokio::select! {
        () = until(true) => {}
        rows = stream.next() => panic!("{rows:?}"),
    }
    drop(stream);
    // Well below the query's own limit of 60 s: it can't have ended by that.
    tokio::time::timeout(Duration::from_secs(30), until(false)).await.unwrap();
}

/// In every table one row of the user each at this place, and an event received now.
async fn put_user(warehouse: &Warehouse, user_id: &str, incarnation: u64, offset: u64) {
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let token = |what: &str| format!("erase {user_id:?} {incarnation} {offset} {what}");
    let mut events = EventColumns::for_day_of(DAY);
    let event = EventRow { tenant: "erasing", user_id, incarnation, received_at_ms: now_ms, ..row("x", "x", offset) };
    events.push(&event).unwrap();
    warehouse.insert(&events, &token("event")).await.unwrap();
    let mut users = UserColumns::default();
    users.push(&UserRow {
        tenant: "erasing",
        app: "web",
        user_id,
        country: None,
        plan: None,
        received_at_ms: now_ms,
        incarnation,
        partition: 3,
        offset: offset + 1,
    });
    warehouse.insert(&users, &token("user")).await.unwrap();
    let mut uncounted = UncountedColumns::default();
    uncounted.push(&UncountedRow {
        tenant: "erasing",
        app: "web",
        reason: Reason::DeadLetter,
        user_id,
        event_id: "x",
        received_at_ms: now_ms,
        record: b"all of it",
        incarnation,
        partition: 3,
        offset: offset + 2,
    });
    warehouse.insert(&uncounted, &token("letter")).await.unwrap();
}

async fn an_erased_user_is_gone_and_no_other(warehouse: &Warehouse) {
    let erased: Vec<_> = NASTY.into_iter().filter(|user| !user.is_empty()).collect();
    for user in erased.iter().copied().chain(["other"]) {
        put_user(warehouse, user, 6, 500).await;
        put_user(warehouse, user, 7, 10).await;
        put_user(warehouse, user, 7, 100).await; // a new user's, as is what comes with the next life of the log
        put_user(warehouse, user, 8, 0).await;
    }
    let (tenant, app) = (tenant("erasing"), app("web"));
    let ended = |user_id| ErasedUser { tenant: &tenant, app: &app, user_id, incarnation: 7, partition: 3, end: 100 };
    let users: Vec<_> = erased.iter().copied().map(ended).collect();
    for user in &users {
        let remains = warehouse.remains(user).await.unwrap();
        assert_eq!(remains.rows, [("events", 2), ("uncounted", 2), ("users", 2)].into(), "{user:?}");
        assert_eq!(remains.hours, [DAY / HOUR_MS * HOUR_MS].into());
    }
    for _ in 0..2 {
        warehouse.mark_erased(&users).await.unwrap();
    }
    warehouse.delete_erased(&users).await.unwrap();
    for user in &users {
        let remains = warehouse.remains(user).await.unwrap();
        assert!(remains.rows.len() == 3 && remains.rows.values().all(|rows| *rows == 0), "{remains:?}");
        assert!(remains.hours.is_empty());
    }
    // The rollup: what stood of both users on a day is counted again.
    for user in &users {
        for (is_there, place) in [(true, 100..101), (false, 10..100), (false, 101..500)] {
            assert_eq!(warehouse.has_events(user, &[(2, 0..1_000), (3, place)]).await.unwrap(), is_there, "{user:?}");
        }
        assert_eq!(warehouse.erased_daily_users(user).await.unwrap(), (0, 2), "{user:?}");
    }
    warehouse.delete_daily_users(&users).await.unwrap();
    for user in &users {
        assert_eq!(warehouse.erased_daily_users(user).await.unwrap(), (1, 0), "{user:?}");
        for _ in 0..2 {
            warehouse.fill_daily_users(user).await.unwrap();
            assert_eq!(warehouse.erased_daily_users(user).await.unwrap(), (0, 0), "{user:?}");
        }
    }
    let daily = async |user: &str| {
        let statement = "SELECT toString(_incarnation), toInt64(sum(events)) FROM daily_users \
            WHERE tenant = 'erasing' AND user = {user: String} GROUP BY _incarnation ORDER BY _incarnation";
        rows(warehouse, statement, &[("user", param::string(user))]).await
    };
    let of_life = |life: &str, events| vec![text(life), Cell::Integer(events)];
    assert_eq!(daily("other").await, [of_life("6", 1), of_life("7", 2), of_life("8", 1)]);
    for user in &erased {
        assert_eq!(daily(user).await, [of_life("7", 1), of_life("8", 1)], "{user:?}");
    }
    let left =
        |table: &str, what: &str| format!("SELECT toInt64(count()) FROM {table} WHERE tenant = 'erasing' AND {what}");
    let left = async |table: &str, what: &str| rows(warehouse, &left(table, what), &[]).await;
    let number = |number: usize| [vec![Cell::Integer(number as i64)]];
    for table in ["events", "users", "uncounted"] {
        assert_eq!(left(table, "user = 'other'").await, number(4), "{table}");
        assert_eq!(left(table, "user NOT IN ('other', '')").await, number(2 * erased.len()), "{table}");
    }
    let marks = "user = '' AND event_id = '' AND record = '' AND app = 'web' AND received_at > now() - 600";
    for (reason, each) in [("erased", 4), ("erased identify", 2)] {
        let wanted = number(each * erased.len());
        assert_eq!(left("uncounted", &format!("{marks} AND reason = '{reason}'")).await, wanted);
    }
}
