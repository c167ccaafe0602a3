//! A week of made events for a running server.

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, TryStreamExt};
use prost::{Message, bytes::Bytes};
use tokio::time::Instant;

use crate::{
    args::DemoArguments,
    connection::{Connection, Ingest},
    error::LoadError,
    events::{Density, Users, Week, wire},
    publish::{self, Batches},
};

/// Batches that are sent before the first one's acknowledgement is waited for.
const IN_FLIGHT: usize = 8;
/// Users identified at once.
const IDENTIFY_AT_ONCE: usize = 64;
const PROGRESS: Duration = Duration::from_secs(1);

/// UTC ms.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Sends the users, then the week, and says what to try.
pub(crate) async fn run(arguments: &DemoArguments, out: &mut impl Write) -> Result<(), LoadError> {
    let connection = Connection::open(&arguments.server, &arguments.key_file).await?;
    let users = Users::new(arguments.seed);
    identify(&connection.ingest(), &users, &arguments.app).await?;
    say(out, &format!("{} users identified\n", Users::COUNT))?;

    let (seed, now_ms) = (arguments.seed, now_ms());
    let events = Week::new(seed, &users, arguments.events, Density::Natural).map(|made| {
        let id = wire::event_id(seed, made.number);
        wire::event(&made, users.get(made.user), &id, wire::time_in_last_week(&made, now_ms))
    });
    let started = Instant::now();
    let (mut acknowledged, mut said) = (0, started);
    let progress = |accepted| {
        acknowledged += accepted;
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            // A closed output is no reason to stop sending.
            let _ = say(out, &format!("{acknowledged:>10} of {} events acknowledged\n", arguments.events));
        }
    };
    let outcome =
        publish::stream(connection.ingest(), Batches::new(&arguments.app, events), IN_FLIGHT, progress).await?;
    let seconds = (outcome.finished - started).as_secs_f64();
    let rate = outcome.accepted as f64 / seconds.max(f64::EPSILON);
    say(
        out,
        &format!("{:>10} events acknowledged, durable, in {seconds:.1} s: {rate:.0} a second\n", outcome.accepted),
    )?;
    say(out, &what_to_try(arguments))
}

/// Makes the users known, so that later events carry their country and plan.
pub(crate) async fn identify(client: &Ingest, users: &Users, app: &str) -> Result<(), LoadError> {
    let calls = users.iter().map(|user| {
        let (mut client, request) = (client.clone(), wire::identify(user, app).encode_to_vec());
        async move { client.identify(Bytes::from(request)).await }
    });
    futures::stream::iter(calls).buffer_unordered(IDENTIFY_AT_ONCE).map_ok(drop).try_collect::<()>().await?;
    Ok(())
}

fn say(out: &mut impl Write, text: &str) -> Result<(), LoadError> {
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(LoadError::io("can't write to standard output"))
}

/// Three questions, ready to paste.
fn what_to_try(arguments: &DemoArguments) -> String {
    let DemoArguments { server, key_file, app, .. } = arguments;
    let curl =
        |path: &str| format!("curl -s {server}{path} -H \"authorization: Bearer $(cat {})\"", key_file.display());
    format!(
        "\nTry:\n\n\
         {sql} -d \"{{\\\"sql\\\": \\\"{}\\\"}}\"\n\n\
         {query} -d '{{\"query\": {{\"app_id\": \"{app}\", \"measures\": [{{\"name\": \"revenue_per_user\", \
         \"formula\": \"SUM(purchase_amount) / COUNT(DISTINCT user_id)\"}}], \"dimensions\": [{{\"expression\": \"country\"}}], \
         \"filters\": [{{\"field\": \"status\", \"op\": \"FILTER_OP_EQ\", \"values\": [{{\"string\": \"completed\"}}]}}], \
         \"grain\": \"GRAIN_DAY\"}}}}'\n\n\
         {explain} -d '{{\"query\": {{\"app_id\": \"{app}\", \"measures\": [{{\"formula\": \"COUNT(*)\"}}], \"grain\": \"GRAIN_HOUR\"}}}}'\n",
        seed_sql(app),
        sql = curl("/v1/sql"),
        query = curl("/v1/query"),
        explain = curl("/v1/explain"),
    )
}

/// Active users, sessions and load times of paying users, by day and country.
pub(crate) fn seed_sql(app: &str) -> String {
    format!(
        "SELECT date_trunc('day', timestamp) as date, country, COUNT(DISTINCT user_id) as active_users, \
         AVG(session_duration) as avg_session, PERCENTILE(0.95, load_time) as p95_load_time \
         FROM events \
         WHERE app_id = '{app}' AND timestamp > now() - INTERVAL 30 DAY AND user_plan IN ('pro', 'enterprise') \
         GROUP BY date, country ORDER BY date DESC"
    )
}
