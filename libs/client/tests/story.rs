//! What the end-to-end test has this client do: see services/penstock/tests/e2e/libraries.rs. Every language's client has such a program.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    env,
    error::Error as StdError,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures::{StreamExt, TryStreamExt, pin_mut};
use penstock_client::{Client, Code, Error, Event, Format, Identity, Metric, Op, Query};
use serde::Deserialize;
use serde_json::{Value, json};

const SQL: &str =
    "SELECT event_type, COUNT(*) AS events, SUM(amount) AS amount FROM events GROUP BY event_type ORDER BY event_type";
const WRONG: &str = "SELECT COUNT(*) FROM events WHERE nothing(";

type Told = Result<Value, Box<dyn StdError>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut told = env::args().skip(1);
    let what = told.next().unwrap_or_default();
    let events = told.next().map_or(Ok(0), |events| events.parse())?;
    let said = match what.as_str() {
        "story" => story().await,
        "send" => send(events).await,
        "leave" => leave(events).await,
        "end" => end(events).await,
        "resume" => resume().await,
        "full" => full(events).await,
        _ => Err(format!("there is no telling {what:?}").into()),
    };
    println!("{}", said?);
    Ok(())
}

async fn story() -> Told {
    let rejections = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&rejections);
    let client = Client::builder()
        .batch_time(Duration::from_secs(60))
        .read_your_writes(true)
        .on_rejected(move |r| {
            let user = r.identity.map_or_else(|| "nobody".to_owned(), |identity| identity.user_id);
            seen.lock().unwrap().push(json!({"code": r.code, "field": r.field, "user": user}));
        })
        .connect()
        .await?;
    for n in 0..20 {
        let (user, plan) = (format!("u{n}"), if n % 2 == 1 { "pro" } else { "free" });
        client.identify(Identity::new(&user).with("plan", plan)).await?;
        let event = Event::new("order").user(user).property("amount", f64::from(n) + 0.125).property("status", "done");
        client.track(event.property("gift", n == 0).property("coupon", None::<&str>)).await?;
    }
    client.track(Event::new("").user("nobody")).await?;
    client.identify(Identity::new("u0").with("plan", 7)).await?;
    let flushed = client.flush().await?;

    let answer = client.sql(SQL).await?; // includes each of its writes, in whatever partition
    let rows = answer.rows::<(String, u64, f64)>()?;
    let columns = answer.columns().iter().map(|c| json!([c.name, kind(c.r#type().as_str_name())]));
    let columns: Vec<_> = columns.collect();
    let revenue = Query::new()
        .measure("revenue", "SUM(amount)")
        .by("user_plan")
        .filter("status", Op::In, ["done", "sent"])
        .order_by("-revenue");
    let query = client.query(revenue).await?.rows::<Value>()?;
    let pro = Metric::new("buyers").shape(Query::new().filter("user_plan", Op::Eq, ["pro"]));
    let (metric,) = client.evaluate(pro).await?.rows::<(u8,)>()?[0];
    let streamed = client.sql("SELECT event_id FROM events").stream();
    let ids: Vec<(String,)> = streamed.and_then(async |row| row.to()).try_collect().await?;
    let csv = client.sql("SELECT MAX(amount) AS most FROM events").export(Format::Csv);
    let csv: Vec<_> = csv.try_collect().await?;
    let export = exported(&client).await?;
    let refused = client.sql(WRONG).await.expect_err("that is no SQL");
    assert_eq!(refused.code(), Some(Code::InvalidArgument));
    let failure = refused.failure().unwrap();
    let (start, end) = failure.position.unwrap();
    let live = live(&client).await?;
    client.close().await?;
    assert!(answer.info().complete_until.unwrap() < SystemTime::now());
    Ok(json!({
        "flushed": [flushed.accepted, flushed.rejected],
        "rejections": *rejections.lock().unwrap(),
        "columns": columns,
        "sql": rows,
        "query": query,
        "metric": metric,
        "rows": ids.iter().filter(|(id,)| !id.is_empty()).count(),
        "export": export,
        "csv": String::from_utf8(csv.concat())?,
        "wrong": {
            "code": "INVALID_ARGUMENT",
            "reason": failure.reason,
            "fields": [failure.violations[0].field],
            "position": [start, end],
        },
        "live": live,
    }))
}

fn kind(name: &str) -> String {
    name.trim_start_matches("COLUMN_TYPE_").to_lowercase()
}

async fn exported(client: &Client) -> Told {
    #[derive(Deserialize)]
    struct Row {
        amount: f64,
    }
    let file = client.sql("SELECT user_id, amount FROM events ORDER BY amount").export(Format::Ndjson);
    let file = file.try_collect::<Vec<_>>().await?.concat();
    let lines = file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let amounts = lines.map(serde_json::from_slice::<Row>).collect::<Result<Vec<_>, _>>()?;
    Ok(json!([amounts.len(), amounts[0].amount, amounts[1].amount]))
}

async fn live(client: &Client) -> Told {
    let orders = Query::new().measure("orders", "COUNT(*)").by("user_id").filter("event_type", Op::Eq, ["order"]);
    let updates = client.query(orders).min_interval(Duration::from_millis(200)).subscribe();
    pin_mut!(updates);
    let mut first = None;
    while let Some(update) = updates.next().await {
        let now: BTreeMap<String, u64> = update?.answer.rows::<(String, u64)>()?.into_iter().collect();
        let begun = match first {
            Some(begun) => begun,
            None => {
                client.track(Event::new("order").user("u0")).await?;
                client.track(Event::new("order").user("new")).await?;
                client.flush().await?;
                (now.len(), now["u0"])
            }
        };
        first = Some(begun);
        if now.get("u0") == Some(&2) && now.get("new") == Some(&1) {
            return Ok(json!([begun.0, begun.1, now.len()]));
        }
    }
    Err("the subscription ended".into())
}

/// Sends so many through whatever happens, with a queue much smaller than they are. It says how far it is.
async fn send(events: usize) -> Told {
    let client = Client::builder()
        .batch_events(50)
        .batch_time(Duration::from_millis(10))
        .queue_bytes(64 << 10)
        .timeout(Duration::from_secs(5))
        .connect()
        .await?;
    let mut most = 0;
    for n in 0..events {
        let event = Event::new("sent").user(format!("u{}", n % 17)).property("n", n).property("pad", "x".repeat(100));
        client.track(event).await?;
        most = most.max(client.pending());
        if n % 100 == 99 {
            println!("{}", n + 1);
        }
    }
    let flushed = client.flush().await?;
    client.close().await?;
    Ok(json!({"accepted": flushed.accepted, "rejected": flushed.rejected, "bounded": most < 1000}))
}

/// Queues so many on disk, says so, and waits for its end.
async fn leave(events: usize) -> Told {
    let client = Client::builder().directory(env::var("PENSTOCK_DIRECTORY")?).connect().await?;
    for n in 0..events {
        client.track(Event::new("left").user(format!("u{}", n % 17)).property("n", n)).await?;
    }
    println!("queued");
    pending().await
}

/// Queues so many and ends as programs do: `close` sends them.
async fn end(events: usize) -> Told {
    let client = Client::builder().batch_events(1 << 20).batch_time(Duration::from_secs(3600)).connect().await?;
    for n in 0..events {
        client.track(Event::new("ended").user(format!("u{}", n % 17)).property("n", n)).await?;
    }
    let queued = client.pending();
    client.close().await?;
    Ok(json!({"queued": queued}))
}

/// Sends what another process left.
async fn resume() -> Told {
    let client = Client::builder().directory(env::var("PENSTOCK_DIRECTORY")?).connect().await?;
    let flushed = client.flush().await?;
    client.close().await?;
    Ok(json!({"accepted": flushed.accepted, "rejected": flushed.rejected}))
}

/// Queues without a server until there is no more room, in memory or on disk. It says how many were taken, and how many came back at the end.
async fn full(events: usize) -> Told {
    let not_sent = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&not_sent);
    let mut builder = Client::builder().queue_bytes(64 << 10).on_rejected(move |r| {
        seen.fetch_add(usize::from(r.code == "NOT_SENT"), Ordering::Relaxed);
    });
    if let Ok(directory) = env::var("PENSTOCK_DIRECTORY") {
        builder = builder.directory(directory);
    }
    let client = builder.connect().await?;
    let mut queued = 0;
    while queued < events {
        match client.try_track(Event::new("full").property("n", queued).property("pad", "x".repeat(100))) {
            Err(Error::QueueFull) => break,
            other => other?,
        };
        queued += 1;
    }
    let closed = client.close_within(Duration::from_millis(100)).await;
    assert!(closed.is_err(), "all was sent to nobody");
    Ok(json!({"queued": queued, "handed_back": not_sent.load(Ordering::Relaxed)}))
}
