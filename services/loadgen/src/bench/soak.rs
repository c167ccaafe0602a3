//! Whether it goes on for long as it began: events at a fixed rate with questions beside them, and a line of what is used every some seconds.
//!
//! Flat is decided by the second half, when all that is filled once is full: a straight line is laid through each column, and what it climbs over the half is
//! held against a bound. The server's memory may grow by what it keeps for a day of every event's identity, and no more.

use std::{fmt::Write as _, io::Write, path::Path, time::Duration};

use api::{raw::Batch, v1};
use load::{
    Times, now_ms,
    open_loop::{self, Schedule},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{
    house::{self, APP, House},
    rows::Rows,
    write,
};
use crate::{
    args::SoakArguments,
    connection::Connection,
    error::LoadError,
    publish::{identify, verdict},
};

/// Events in a call.
const BATCH_EVENTS: u64 = 500;
/// Questions a second, of what came within the last minute, and each so many of the last ten: no more than that, so that they read as much at the
/// beginning of the second half as at its end. Those of a span that fills all the while take more memory the longer they take.
const QUESTIONS: u64 = 2;
const OF_TEN_MINUTES: u64 = 20;
/// What the server may keep of an event that came within a day, in bytes: see `services/pipeline/src/seen.rs`, and what the allocator keeps of its tables' smaller sizes.
const KEPT_OF_AN_EVENT: f64 = 45.0;
/// What else memory may climb over the second half, of its mean: merges come and go.
const CLIMB: f64 = 0.1;
/// Seconds of events that the lag may climb over the second half.
const LAG_SECONDS: f64 = 2.0;
/// Of the rate that is asked for.
const KEPT_UP: f64 = 0.98;

/// What was seen over one interval.
#[derive(Debug, Clone, Copy)]
struct Line {
    second: f64,
    events_per_second: f64,
    server_bytes: f64,
    warehouse_bytes: f64,
    /// Acknowledged events that weren't in the warehouse when it was asked afterwards.
    lag_events: f64,
    publish_p99_ms: f64,
    question_p99_ms: f64,
    /// Acknowledged so far.
    events: f64,
}

/// What became of a call, and how long it took.
enum Done {
    Published(Duration, u64),
    Answered(Duration),
}

/// Runs, writes the file and says what it comes to. An error if it isn't flat, or anything is missing at the end.
pub(crate) async fn run(arguments: &SoakArguments, out: &mut impl Write) -> Result<(), LoadError> {
    let beside = arguments.out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = std::fs::create_dir_all(beside).and_then(|()| beside.canonicalize()).and_then(tempfile::tempdir_in);
    let dir = dir.map_err(LoadError::io(format!("can't make a directory in {}", beside.display())))?;
    let house = House::start(dir.path()).await?;
    // Tasks read the rows until the process ends.
    let rows: &'static Rows = Box::leak(Box::new(Rows::new(1, u64::MAX)));
    let (writer, reader) = (house.connect().await?, house.connect().await?);
    identify(&writer.ingest(), rows.users(), APP).await?;

    let seconds = (arguments.minutes * 60.0).ceil() as u64;
    let (done, news) = unbounded_channel();
    let asking = done.clone();
    let events = open_loop::run(Schedule::of((arguments.rate / BATCH_EVENTS).max(1), seconds), |call| {
        publish(rows, call * BATCH_EVENTS, writer.clone(), done.clone())
    });
    let questions = open_loop::run(Schedule::of(QUESTIONS, seconds), |call| ask(call, reader.clone(), asking.clone()));
    let work = async {
        let (events, questions) = tokio::try_join!(events, questions)?;
        questions.into_iter().try_for_each(|(_, outcome)| outcome)?;
        events.into_iter().map(|(_, accepted)| accepted).sum::<Result<u64, LoadError>>()
    };
    let (accepted, lines) = tokio::try_join!(work, watch(&house, news, seconds, arguments, out))?;
    house::wait_for_count(&writer, accepted).await?;
    write::check(accepted, house::count(&writer, &[]).await?)?;
    house.stop().await?;
    let (text, is_flat) = judge(&lines, arguments.rate as f64);
    let said = format!("{text}{accepted} events, each counted once; {}\n", arguments.out.display());
    out.write_all(said.as_bytes()).map_err(LoadError::io("can't write to standard output"))?;
    if is_flat { Ok(()) } else { Err(LoadError::NotFlat) }
}

async fn publish(
    rows: &'static Rows,
    first: u64,
    writer: Connection,
    done: UnboundedSender<Done>,
) -> Result<u64, LoadError> {
    let began = Instant::now();
    let mut batch = Batch::new(APP);
    (first..first + BATCH_EVENTS).for_each(|number| batch.push(&rows.get(number).into_event(now_ms())));
    let answer = writer.ingest().publish(batch.into_request()).await?.into_inner();
    let (accepted, _) = verdict(answer.acknowledgement)?;
    let _ = done.send(Done::Published(began.elapsed(), accepted)); // after the last line nobody hears it
    Ok(accepted)
}

async fn ask(call: u64, reader: Connection, done: UnboundedSender<Done>) -> Result<(), LoadError> {
    let began = Instant::now();
    let span = if call.is_multiple_of(OF_TEN_MINUTES) { "10 MINUTE" } else { "1 MINUTE" };
    let sql = format!(
        "SELECT event_type, COUNT(*) AS events, COUNT(DISTINCT user_id) AS users FROM events \
         WHERE app_id = '{APP}' AND timestamp > now() - INTERVAL {span} GROUP BY event_type"
    );
    reader.query().sql(v1::SqlRequest { sql, ..Default::default() }).await?;
    let _ = done.send(Done::Answered(began.elapsed()));
    Ok(())
}

/// A line for each interval, to the file and to whoever watches.
async fn watch(
    house: &House,
    mut news: UnboundedReceiver<Done>,
    seconds: u64,
    arguments: &SoakArguments,
    out: &mut impl Write,
) -> Result<Vec<Line>, LoadError> {
    let every = Duration::from_secs(arguments.every);
    let named = || LoadError::io(arguments.out.display().to_string());
    let mut file = std::fs::File::create(&arguments.out).map_err(named())?;
    let (started, mut last, mut events, mut lines) = (Instant::now(), Instant::now(), 0, Vec::new());
    let mut ticks = interval_at(started + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while started.elapsed() + every <= Duration::from_secs(seconds) {
        let now = ticks.tick().await;
        let (mut published, mut answered, before) = (Vec::new(), Vec::new(), events);
        while let Ok(done) = news.try_recv() {
            match done {
                Done::Published(took, accepted) => {
                    published.push(took);
                    events += accepted;
                }
                Done::Answered(took) => answered.push(took),
            }
        }
        let [server_bytes, warehouse_bytes] = house.memory()?.map(|bytes| bytes as f64);
        let line = Line {
            second: (now - started).as_secs_f64(),
            events_per_second: (events - before) as f64 / (now - last).as_secs_f64(),
            server_bytes,
            warehouse_bytes,
            lag_events: events.saturating_sub(stored(house).await?) as f64,
            publish_p99_ms: Times::of(published).p99_ms,
            question_p99_ms: Times::of(answered).p99_ms,
            events: events as f64,
        };
        last = now;
        let text = format!("{}{line}\n", if lines.is_empty() { HEADER } else { "" });
        lines.push(line);
        file.write_all(text.as_bytes()).map_err(named())?;
        out.write_all(text.as_bytes()).map_err(LoadError::io("can't write to standard output"))?;
    }
    Ok(lines)
}

/// Rows of events, past the product: a question of ours would be one more that is measured.
async fn stored(house: &House) -> Result<u64, LoadError> {
    Ok(house.own_warehouse()?.stored_size().await?.events)
}

const HEADER: &str =
    "second,events_per_second,server_mb,warehouse_mb,lag_events,publish_p99_ms,question_p99_ms,events\n";

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = |bytes: f64| bytes / 1e6;
        write!(
            f,
            "{:.0},{:.0},{:.1},{:.1},{:.0},{:.1},{:.1},{:.0}",
            self.second,
            self.events_per_second,
            mb(self.server_bytes),
            mb(self.warehouse_bytes),
            self.lag_events,
            self.publish_p99_ms,
            self.question_p99_ms,
            self.events
        )
    }
}

/// A column of the lines.
type Column = fn(&Line) -> f64;

/// What the second half comes to, for people, and whether all of it is flat.
fn judge(lines: &[Line], rate: f64) -> (String, bool) {
    let half = &lines[lines.len() / 2..];
    let (Some(first), Some(last)) = (half.first(), half.last()) else {
        return ("nothing was seen\n".to_owned(), false);
    };
    let climb = |of: Column| slope(half, of) * (last.second - first.second);
    let mean = |of: Column| half.iter().map(of).sum::<f64>() / half.len() as f64;
    let server: Column = |l| l.server_bytes;
    let warehouse: Column = |l| l.warehouse_bytes;
    let kept = (last.events - first.events) * KEPT_OF_AN_EVENT;
    let checks = [
        ("server, MB", climb(server) / 1e6, (mean(server) * CLIMB + kept) / 1e6),
        ("warehouse, MB", climb(warehouse) / 1e6, mean(warehouse) * CLIMB / 1e6),
        ("lag, events", climb(|l| l.lag_events), rate * LAG_SECONDS),
        ("behind the rate, events a second", rate - mean(|l| l.events_per_second), rate * (1.0 - KEPT_UP)),
    ];
    let mut text = String::from("\nover the second half, by its slope\n");
    for (what, climbed, most) in checks {
        let verdict = if climbed <= most { "ok" } else { "TOO MUCH" };
        let _ = writeln!(text, "{what:<34} {climbed:>12.1}, at most {most:>12.1}  {verdict}"); // a String takes all
    }
    (text, checks.iter().all(|(_, climbed, most)| climbed <= most))
}

/// How much a column climbs a second: the straight line with the least squares.
fn slope(lines: &[Line], of: Column) -> f64 {
    let n = lines.len() as f64;
    let (x, y) = (lines.iter().map(|l| l.second).sum::<f64>() / n, lines.iter().map(of).sum::<f64>() / n);
    let spread: f64 = lines.iter().map(|l| (l.second - x).powi(2)).sum();
    if spread == 0.0 { 0.0 } else { lines.iter().map(|l| (l.second - x) * (of(l) - y)).sum::<f64>() / spread }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes at a thousand events a second, with what differs from a flat one.
    fn soak(change: fn(&mut Line)) -> bool {
        let lines: Vec<_> = (1..=60)
            .map(|turn| {
                let second = f64::from(turn) * 10.0;
                // Merges come and go.
                let warehouse_bytes = 2e9 + if turn % 3 == 0 { 3e8 } else { 0.0 };
                let mut line = Line {
                    second,
                    events_per_second: 1_000.0,
                    server_bytes: 3e8,
                    warehouse_bytes,
                    lag_events: 300.0,
                    publish_p99_ms: 1.0,
                    question_p99_ms: 1.0,
                    events: second * 1_000.0,
                };
                change(&mut line);
                line
            })
            .collect();
        judge(&lines, 1_000.0).1
    }

    #[test]
    fn what_climbs_over_the_second_half_is_not_flat() {
        assert!(soak(|_| ()));
        assert!(soak(|l| l.server_bytes += l.second.min(200.0) * 1e7), "what fills up first is no climb");
        assert!(soak(|l| l.server_bytes += l.events * 27.0), "identities are kept for a day");
        assert!(!soak(|l| l.server_bytes += l.events * 1_000.0));
        assert!(!soak(|l| l.warehouse_bytes += l.second * 2e6));
        assert!(!soak(|l| l.lag_events += l.second * 10.0));
        assert!(!soak(|l| l.events_per_second = 900.0));
        assert!(!judge(&[], 1.0).1);
    }
}
