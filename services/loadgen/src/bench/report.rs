//! The result: one JSON document, and the same as a table for people.

use std::fmt::Write;

use load::{Machine, Times};
use serde::Serialize;

use super::{
    crowd::{Beside, Crowd},
    dashboards::Dashboards,
    house::Peaks,
    latency::Latency,
    read::Reading,
    skew::Skew,
    stored::Stored,
    victim::{Victim, Waits},
    write::{EndToEnd, Raw},
};

/// Tiles that the table names; the file has all.
const SHOWN_TILES: usize = 6;

/// Everything that one run measured. Numbers of different runs or machines compare by their ratios only.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Whether the load generator was built with optimisation; without, the numbers say nothing.
    pub(crate) optimised: bool,
    pub(crate) engine: String,
    pub(crate) seed: u64,
    pub(crate) properties: usize,
    pub(crate) raw_native: Raw,
    pub(crate) raw_row_binary: Raw,
    pub(crate) penstock: EndToEnd,
    pub(crate) stored: Stored,
    /// Events that the questions were asked of.
    pub(crate) events_read: u64,
    pub(crate) readings: Vec<Reading>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) skew: Option<Skew>,
    pub(crate) victim: Option<Victim>,
    pub(crate) dashboards: Option<Dashboards>,
    pub(crate) crowd: Option<Crowd>,
    /// While events came as fast as they go.
    pub(crate) sustained_peaks: Peaks,
    pub(crate) run_seconds: f64,
}

impl Report {
    /// The table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        self.head(&mut text);
        self.writing(&mut text);
        self.storing(&mut text);
        self.waiting(&mut text);
        if let Some(skew) = &self.skew {
            skewed(&mut text, skew);
        }
        if let Some(victim) = &self.victim {
            beside_noise(&mut text, victim);
        }
        self.reading(&mut text);
        if let Some(dashboards) = &self.dashboards {
            looked_at(&mut text, dashboards);
        }
        if let Some(crowd) = &self.crowd {
            crowded(&mut text, crowd);
        }
        self.remembering(&mut text);
        text
    }

    fn remembering(&self, text: &mut String) {
        line(text, "peak memory, in MiB", &["server", "warehouse"]);
        let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
        let at_rates = self.latencies.iter().map(|at| (format!("at {} events/s", at.events_per_second), at.peaks));
        for (when, peaks) in [("as fast as they go".to_owned(), self.sustained_peaks)].into_iter().chain(at_rates) {
            let Peaks { server_rss_bytes: server, warehouse_rss_bytes: warehouse } = peaks;
            line(text, &format!("  {when}"), &[&mib(server), &mib(warehouse)]);
        }
    }

    fn head(&self, text: &mut String) {
        let Machine { cores, cpu, kernel, file_system, load_before, .. } = &self.machine;
        let _ = writeln!(text, "{cores} cores, {cpu}, Linux {kernel}, {file_system}, engine {}", self.engine); // a String takes all
        if *load_before > 0.5 {
            let _ = writeln!(text, "the machine was not idle (load {load_before}): trust the ratios, not the rates");
        }
        if !self.optimised {
            let _ = writeln!(text, "a build without optimisation: these numbers say nothing");
        }
    }

    fn writing(&self, text: &mut String) {
        let native = self.raw_native.rows_per_cpu_second;
        let ratio = |rate: f64| format!("{:.2}", rate / native);
        let head = format!("\nwriting {} events, {} properties each", self.penstock.events, self.properties);
        line(text, &head, &["rows/CPU-s", "ratio", "rows/s"]);
        for (name, raw) in [("Native", &self.raw_native), ("RowBinary", &self.raw_row_binary)] {
            let rate = raw.rows_per_cpu_second;
            let wall = raw.rows as f64 / raw.seconds.max(f64::EPSILON);
            line(text, &format!("  engine alone, {name}"), &[&whole(rate), &ratio(rate), &whole(wall)]);
        }
        let penstock = &self.penstock;
        let rate = penstock.events_per_cpu_second;
        let acknowledged = whole(penstock.acknowledged_per_second);
        line(text, "  Penstock, acknowledged durable", &[&whole(rate), &ratio(rate), &acknowledged]);
        let rate = penstock.events_per_cpu_second_of_penstock;
        line(text, "    without the load generator", &[&whole(rate), &ratio(rate), ""]);
        line(text, "    queryable", &["", "", &whole(penstock.queryable_per_second)]);
    }

    fn storing(&self, text: &mut String) {
        let Stored { events, json_bytes, disk_bytes, .. } = self.stored;
        let each = |bytes: u64| format!("{:.1}", bytes as f64 / events.max(1) as f64);
        line(text, &format!("\nstoring {events} events, bytes each"), &["JSON", "stored", "ratio"]);
        let ratio = format!("{:.1}", self.stored.ratio());
        line(text, "  UUIDs as ids, all different", &[&each(json_bytes), &each(disk_bytes), &ratio]);
    }

    fn waiting(&self, text: &mut String) {
        for at in &self.latencies {
            let head = format!("\nat {} events/s, {} in a call, in ms", at.events_per_second, at.events_in_a_call);
            line(text, &head, &["P50", "P99", "max"]);
            for (name, times) in [("  acknowledged", &at.acknowledge), ("  then queryable", &at.fresh)] {
                line(text, name, &[&ms(times.p50_ms), &ms(times.p99_ms), &ms(times.max_ms)]);
            }
        }
    }

    fn reading(&self, text: &mut String) {
        if self.readings.is_empty() {
            return;
        }
        let head = format!("\nquestions on {} events, P50 in ms", self.events_read);
        line(text, &head, &["direct", "Penstock", "more", "P99", "cached", "ratio"]);
        for reading in &self.readings {
            let (cold, direct, cached) = (&reading.cold, &reading.direct, &reading.cached);
            let columns = [
                ms(direct.p50_ms),
                ms(cold.p50_ms),
                ms(reading.more_ms),
                ms(cold.p99_ms),
                ms(cached.p50_ms),
                format!("{:.2}", cached.p50_ms / direct.p50_ms.max(f64::EPSILON)),
            ];
            line(text, &format!("  {}", reading.question), &columns.each_ref().map(String::as_str));
        }
        text.push('\n');
    }
}

fn skewed(text: &mut String, skew: &Skew) {
    let Skew { others_events_per_second: others, large_events_per_second: large, max_to_mean, .. } = skew;
    line(text, &format!("\n200 tenants, {others} events/s, queryable in ms"), &["P50", "P99", "max", "ratio P99"]);
    let (alone, beside) = (&skew.fresh_alone, &skew.fresh_beside_large);
    let ratio = format!("{:.2}", beside.p99_ms / alone.p99_ms.max(f64::EPSILON));
    line(text, "  by themselves", &[&ms(alone.p50_ms), &ms(alone.p99_ms), &ms(alone.max_ms), "1.00"]);
    let name = format!("  beside one with {large} events/s");
    line(text, &name, &[&ms(beside.p50_ms), &ms(beside.p99_ms), &ms(beside.max_ms), &ratio]);
    line(text, "  its fullest partition / mean", &[&format!("{max_to_mean:.2}")]);
}

fn beside_noise(text: &mut String, victim: &Victim) {
    let Victim { calls_per_second: calls, noisy_calls_per_second: noisy, noisy_quota_per_second: quota, .. } = victim;
    line(text, &format!("\na tenant with {calls} calls/s, in ms"), &["P50", "P99", "max", "ratio P99"]);
    type Of = fn(&Waits) -> &Times;
    let ways: [(&str, Of); 2] = [("acknowledged", |waits| &waits.acknowledge), ("answered", |waits| &waits.answer)];
    for (what, of) in ways {
        let alone = of(&victim.alone);
        for (beside, waits) in [
            ("alone".to_owned(), &victim.alone),
            (format!("beside a quota of {quota}"), &victim.within_quota),
            (format!("beside {noisy} calls/s"), &victim.beside),
        ] {
            let times = of(waits);
            let ratio = format!("{:.2}", times.p99_ms / alone.p99_ms.max(f64::EPSILON));
            let name = format!("  {what}, {beside}");
            line(text, &name, &[&ms(times.p50_ms), &ms(times.p99_ms), &ms(times.max_ms), &ratio]);
        }
    }
    let name = format!("  of those let in a second (quota {quota})");
    line(text, &name, &[&format!("{:.0}", victim.noisy_let_in_per_second)]);
}

fn looked_at(text: &mut String, dashboards: &Dashboards) {
    let Dashboards { events, raw, kept_beside, tiles, window_raw, window_moved } = dashboards;
    line(text, &format!("dashboards on {events} events, P50 in ms"), &["raw", "kept", "raw/kept"]);
    let times = |raw: &Times, kept: &Times| {
        let ratio = format!("{:.1}", raw.p50_ms / kept.p50_ms.max(f64::EPSILON));
        [ms(raw.p50_ms), ms(kept.p50_ms), ratio]
    };
    for (name, raw, kept) in [
        ("  20 tiles, 25 days", raw, kept_beside),
        ("  totals of 29 days, moved by a minute", window_raw, window_moved),
    ] {
        line(text, name, &times(raw, kept).each_ref().map(String::as_str));
    }
    line(text, "  the tiles that gain least", &[]);
    for tile in tiles.iter().take(SHOWN_TILES) {
        let name = format!("    {}{}", tile.formula, tile.by.map(|by| format!(" by {by}")).unwrap_or_default());
        let [raw, kept, gain] = times(&tile.raw, &tile.kept_beside);
        line(text, &name, &[&raw, &kept, &gain, tile.route.trim_start_matches("ROUTE_")]);
    }
}

fn crowded(text: &mut String, crowd: &Crowd) {
    let Crowd { cached_per_second, users, tiles_per_second, tiles, errors, interactive, small_tenant } = crowd;
    line(text, "\nkept answers a second", &[&whole(*cached_per_second)]);
    let head = format!("{users} users, {tiles_per_second} tiles/s, in ms");
    line(text, &head, &["P50", "P99", "max", "errors"]);
    line(text, "", &[&ms(tiles.p50_ms), &ms(tiles.p99_ms), &ms(tiles.max_ms), &errors.to_string()]);
    line(text, "\nbeside a flood, P99 in ms", &["alone", "beside", "ratio", "flood"]);
    for (name, Beside { alone, beside, flood_answered }) in
        [("  interactive, background flood", interactive), ("  small tenant, noisy one", small_tenant)]
    {
        let ratio = format!("{:.2}", beside.p99_ms / alone.p99_ms.max(f64::EPSILON));
        line(text, name, &[&ms(alone.p99_ms), &ms(beside.p99_ms), &ratio, &flood_answered.to_string()]);
    }
    text.push('\n');
}

fn line(text: &mut String, name: &str, columns: &[&str]) {
    let _ = write!(text, "{name:<42}"); // a String takes all
    for column in columns {
        let _ = write!(text, "{column:>11}");
    }
    text.truncate(text.trim_end_matches(' ').len());
    text.push('\n');
}

fn whole(n: f64) -> String {
    format!("{n:.0}")
}

fn ms(n: f64) -> String {
    if n < 10.0 { format!("{n:.2}") } else { format!("{n:.0}") }
}
