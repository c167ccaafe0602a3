//! The key, and each role by a call that changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::{DOCS, Round, Verdict};
use crate::{
    client::{
        ClientError, Link, Target,
        show::{text, word},
    },
    wire::now_ms,
};

/// How long each call may take: one that is later is as good as none.
const PATIENCE: Duration = Duration::from_secs(10);
/// The admin role asks it with each call.
const METASTORE: &str = "admin and metastore";
const DAY_MS: i64 = 86_400_000;
/// By how much an answer may be behind what was sent.
const BEHIND: (i64, i64) = (10_000, 60_000);
/// Dead letters that are looked at.
const DEAD_LETTERS: u32 = 1_000;

pub(super) async fn look(
    target: &Target,
    (tenant, mut app): (String, String),
    skew_ms: i64,
    round: &mut Round<'_>,
) -> Result<(), ClientError> {
    let mut link = match Link::open(target).await {
        Ok(link) => link.within(PATIENCE),
        Err(error) => return round.refused("key", &error),
    };
    let described = link.call("QueryService.Describe", json!({"app_id": app})).await;
    let is_query = described.is_ok();
    match &described {
        Ok(about) => {
            let (tenant, id, can) = (text(&about["tenant_id"]), text(&about["key_id"]), text(&about["permissions"]));
            let apps: Vec<_> = about["apps"].as_array().into_iter().flatten().map(|app| text(&app["app_id"])).collect();
            if app.is_empty() {
                app = apps.first().cloned().unwrap_or_default();
            }
            let why = format!("{id} of {}: tenant {tenant}, may {can}, apps {}", target.whence, apps.join(","));
            round.ok("key", why)?;
        }
        Err(error) if error.is_denied() => {
            round.ok("key", format!("the one of {} is known: {error}", target.whence))?
        }
        Err(error) if error.is_away() => {
            round.say("key", Verdict::Skip, "the query role, which knows it, doesn't answer", "")?;
        }
        Err(error) => {
            let next = "penstock login NAME --server URL keeps another; an admin makes one: penstock key create";
            return round.fail("key", format!("the one of {}: {error}", target.whence), next);
        }
    }
    if let Ok(about) = &described {
        expiry(&mut link, &tenant, &text(&about["key_id"]), round).await?;
    }

    // An empty batch is refused, by who would have taken a full one.
    let sent = link.call("IngestService.Publish", json!({"app_id": app, "events": []})).await;
    role("ingest", sent.map(drop), round)?;
    role("query", described.map(drop), round)?;
    let listed = link.call("MetricsService.ListMetrics", json!({"app_id": app})).await;
    role("metrics", listed.map(drop), round)?;
    let mut listed = link.call("AdminService.ListTenants", json!({})).await;
    if listed.as_ref().is_err_and(ClientError::is_denied) {
        listed = link.call("AdminService.ListApps", json!({"tenant_id": tenant})).await;
    }
    role(METASTORE, listed.map(drop), round)?;
    topic(&mut link, round).await?;
    if is_query && !app.is_empty() {
        warehouse(&mut link, &app, skew_ms, round).await?;
    } else {
        round.say(
            "warehouse",
            Verdict::Skip,
            "the key may not ask about an app",
            "use one that may query: penstock key create --can query",
        )?;
    }
    dead_letters(&mut link, &tenant, &app, round).await
}

/// Whether a role was heard, be it with a refusal.
fn role(name: &str, heard: Result<(), ClientError>, round: &mut Round<'_>) -> Result<(), ClientError> {
    let next = || match name {
        METASTORE => format!("see {DOCS}/metastore-failing.md, or {DOCS}/role-away.md"),
        _ => format!("see {DOCS}/role-away.md"),
    };
    match heard {
        Err(error) if error.is_away() => round.fail(name, error.to_string(), next()),
        Err(error) if error.is_denied() => round.say(name, Verdict::Skip, "not asked: the key may not", ""),
        _ => round.ok(name, "answers"),
    }
}

/// Whether the event log is as it should be; for operators, and nobody else is told.
async fn topic(link: &mut Link, round: &mut Round<'_>) -> Result<(), ClientError> {
    match link.call("AdminService.GetTopic", json!({})).await {
        Ok(answer) => {
            let (topic, state) = (&answer["topic"], word(&answer["topic"]["state"], "STATE_"));
            let why = format!("{} has {} partitions and is {state}", text(&topic["name"]), topic["partitions"]);
            let verdict = if state == "steady" { Verdict::Ok } else { Verdict::Warn };
            let next = if state == "steady" { "" } else { "penstock topic show says what it waits for" };
            round.say("event log", verdict, why, next)
        }
        // The role has a line of its own.
        Err(error) if error.is_denied() || error.is_away() => Ok(()),
        Err(error) => round.fail("event log", error.to_string(), format!("see {DOCS}/lag.md")),
    }
}

/// A key that ends soon is worth a word; who may not list keys isn't told.
async fn expiry(link: &mut Link, tenant: &str, id: &str, round: &mut Round<'_>) -> Result<(), ClientError> {
    let Ok(keys) = link.list("AdminService.ListKeys", json!({"tenant_id": tenant}), "keys").await else {
        return Ok(());
    };
    let end = keys.iter().find(|key| key["key_id"] == id).map(|key| text(&key["expires_at"])).unwrap_or_default();
    let Ok(at) = end.parse::<jiff::Timestamp>() else { return Ok(()) };
    let left_ms = at.as_millisecond() - now_ms();
    if left_ms > 7 * DAY_MS {
        return round.ok("key's end", end);
    }
    round.say("key's end", Verdict::Warn, format!("it is good until {end}"), format!("penstock key rotate {id}"))
}

/// A question to the warehouse, past all that is kept of answers before, and how far behind its answer is.
async fn warehouse(link: &mut Link, app: &str, skew_ms: i64, round: &mut Round<'_>) -> Result<(), ClientError> {
    let sql = "SELECT COUNT(*) AS n FROM events WHERE received_at > now() - INTERVAL 1 MINUTE";
    let request = json!({"sql": sql, "app_id": app, "options": {"route": "ROUTE_RAW"}});
    let answer = match link.call("QueryService.Sql", request).await {
        Ok(answer) => answer,
        Err(error) if error.is_away() => {
            return round.fail(
                "warehouse",
                format!("a SELECT fails: {error}"),
                format!("see {DOCS}/warehouse-away.md"),
            );
        }
        Err(error) => return round.refused("warehouse", &error),
    };
    let info = &answer["result"]["info"];
    let ms = info["cost"]["elapsed_us"].as_f64().unwrap_or(0.0) / 1000.0;
    let events = text(&answer["result"]["rows"][0]["values"][0]["integer"]);
    round.ok("warehouse", format!("a SELECT takes {ms:.0} ms: {app} had {events} events in the last minute"))?;
    let until = text(&info["watermark"]["complete_until"]);
    let until_ms = until.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
    let behind_ms = (now_ms() + skew_ms - until_ms).max(0);
    let why = match until_ms {
        0 => "not every partition of the log was ever read".to_owned(),
        _ => format!("answers have all that was acknowledged until {:.0} s ago", behind_ms as f64 / 1000.0),
    };
    let next = format!("is the event log there, and the pipeline? see {DOCS}/lag.md and {DOCS}/pipeline-stopped.md");
    round.measured("lag", behind_ms, BEHIND, why, &next)
}

/// Events of the last day that were refused and kept.
async fn dead_letters(link: &mut Link, tenant: &str, app: &str, round: &mut Round<'_>) -> Result<(), ClientError> {
    let request = json!({"tenant_id": tenant, "app_id": app, "page_size": DEAD_LETTERS});
    let check = "dead letters";
    if app.is_empty() {
        return round.say(
            check,
            Verdict::Skip,
            "no app is said",
            "say --app APP, and with an operator's key --tenant TENANT",
        );
    }
    let kept = match link.call("AdminService.ListDeadLetters", request).await {
        Ok(kept) => kept,
        Err(error) if error.is_denied() => return round.say(check, Verdict::Skip, "not asked: the key may not", ""),
        // The role has its own line.
        Err(error) if error.is_away() => return round.say(check, Verdict::Skip, error.to_string(), ""),
        Err(error) => return round.refused(check, &error),
    };
    let since = now_ms() - DAY_MS;
    let is_new = |letter: &&Value| {
        let at = text(&letter["received_at"]).parse::<jiff::Timestamp>();
        at.is_ok_and(|at| at.as_millisecond() > since) && letter["stored_since"] != true
    };
    let new = kept["dead_letters"].as_array().into_iter().flatten().filter(is_new).count();
    let more = if text(&kept["next_page_token"]).is_empty() { "" } else { " or more" };
    match new {
        0 => round.ok(
            check,
            format!("{app} had none{} in the last day", if more.is_empty() { "" } else { " that was seen" }),
        ),
        n => {
            let why = format!("{n}{more} events of {app} were refused and kept in the last day");
            round.say(check, Verdict::Warn, why, format!("penstock dead-letters --app {app}"))
        }
    }
}
