//! Somebody who looks at the numbers all the while, and holds each answer against what it says of itself.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{APP, Field};
use crate::house::rows;

/// How often it looks: what is kept of answers and what is not are both asked for.
const PACE: Duration = Duration::from_millis(400);

/// What each client sent, and what of it was acknowledged by when.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<BTreeMap<String, Client>>>);

#[derive(Default)]
struct Client {
    sent: u64,
    /// So many events by that time, in Unix milliseconds. The clock is read after the acknowledgement.
    acknowledged: Vec<(i64, u64)>,
}

impl Known {
    pub fn sent(&self, client: &str, events: u64) {
        self.0.lock().entry(client.to_owned()).or_default().sent = events;
    }

    pub fn acknowledged(&self, client: &str, events: u64) {
        let now_ms = Timestamp::now().as_millisecond();
        self.0.lock().entry(client.to_owned()).or_default().acknowledged.push((now_ms, events));
    }

    /// Holds the counted events of each client against an answer's claim to be complete until then; returns whether that claims anything.
    fn hold(&self, until_ms: i64, counted: &BTreeMap<String, u64>) -> bool {
        let mut claims = false;
        for (name, client) in &*self.0.lock() {
            let promised =
                client.acknowledged.iter().rev().find(|(ms, _)| *ms < until_ms).map_or(0, |(_, events)| *events);
            let counted = counted.get(name).copied().unwrap_or_default();
            assert!(counted >= promised, "{name}: {counted} of the {promised} events acknowledged before {until_ms}");
            assert!(counted <= client.sent, "{name}: {counted} events of {} that were sent", client.sent);
            claims |= promised > 0;
        }
        claims
    }
}

/// Looks until it is over; returns how many answers claimed something.
pub async fn look(field: Field) -> u64 {
    let (http, mut claims) = (reqwest::Client::new(), 0);
    let sql = format!(
        "SELECT client, COUNT(*) FROM events WHERE app_id = '{APP}' AND event_type = 'load' AND client LIKE '{}%' GROUP BY client",
        field.run
    );
    while !*field.over.borrow() {
        sleep(PACE).await;
        let url = format!("http://{}/v1/sql", &*field.address.borrow());
        let asked = http.post(url).bearer_auth(&field.key).json(&json!({"sql": sql})).send().await;
        let Ok(answer) = asked else { continue };
        let status = answer.status().as_u16();
        let Ok(answer) = answer.json::<Value>().await else { continue };
        if status != 200 {
            assert!(
                [429, 503, 504].contains(&status),
                "whoever only looks is answered or told to come again: {status} {answer}"
            );
            continue;
        }
        let until: Timestamp =
            answer["result"]["info"]["watermark"]["complete_until"].as_str().unwrap().parse().unwrap();
        let counted = rows(&answer["result"])
            .into_iter()
            .map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_u64().unwrap()));
        claims += u64::from(field.known.hold(until.as_millisecond(), &counted.collect()));
    }
    claims
}
