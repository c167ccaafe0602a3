//! What depends on a zone. Names of zones are bound like all values.

use super::Emitter;
use crate::{
    grain::{Grain, Part},
    interval::Interval,
    time::Zone,
    typed::{Expr, Node},
};

impl Emitter {
    pub(super) fn calendar(&mut self, node: &Node) {
        match node {
            Node::Truncate(grain, zone, time) => self.truncate(*grain, zone, time),
            Node::Part(part, zone, time) => self.part(*part, zone, time),
            Node::Shift(time, by, zone) => self.shift(time, *by, zone),
            Node::Difference(grain, zone, from, to) => {
                self.around(&format!("toInt64(dateDiff('{}', ", grain.name()), from, ", ");
                self.expr(to);
                self.zone_argument(zone);
                self.push("))");
            }
            Node::InZone(time, _) => self.expr(time),
            _ => {}
        }
    }

    fn zone_argument(&mut self, zone: &Zone) {
        let zone = self.params.text(zone.name());
        self.push(&format!(", {zone}"));
    }

    /// The same instant, shown in the zone.
    pub(super) fn in_zone(&mut self, zone: &Zone, time: impl FnOnce(&mut Self)) {
        self.push("toTimeZone(");
        time(self);
        self.zone_argument(zone);
        self.push(")");
    }

    /// The start of the bucket as an instant. From the week on the engine gives a date, whose local midnight it is.
    fn truncate(&mut self, grain: Grain, zone: &Zone, time: &Expr) {
        let start = |e: &mut Self| {
            e.around(&format!("dateTrunc('{}', ", grain.name()), time, "");
            e.zone_argument(zone);
            e.push(")");
        };
        if grain >= Grain::Week {
            return self.midnight(zone, start);
        }
        if grain == Grain::Hour && zone.changes_within_hours() {
            // The engine counts hours from midnight on, over a change of half an hour too.
            self.push("addMilliseconds(");
            self.truncate(Grain::Minute, zone, time);
            self.around(", -60000 * toMinute(", time, "");
            self.zone_argument(zone);
            return self.push("))");
        }
        self.push("toDateTime64(");
        start(self);
        self.push(", 3, 'UTC')");
    }

    pub(super) fn key_of_group(&mut self, i: usize) {
        let key = format!("k{i}");
        match self.dated.clone().filter(|_| i == 0) {
            Some(zone) => self.midnight(&zone, |e| e.push(&key)),
            None => self.push(&key),
        }
    }

    /// When a date begins in the zone, as an instant.
    fn midnight(&mut self, zone: &Zone, date: impl FnOnce(&mut Self)) {
        self.push("toTimeZone(toDateTime64(");
        date(self);
        self.push(", 3");
        self.zone_argument(zone);
        self.push("), 'UTC')");
    }

    fn part(&mut self, part: Part, zone: &Zone, time: &Expr) {
        let (before, after) = match part {
            Part::Year => ("toInt64(toYear(", "))"),
            Part::IsoYear => ("toInt64(toISOYear(", "))"),
            Part::Quarter => ("toInt64(toQuarter(", "))"),
            Part::Month => ("toInt64(toMonth(", "))"),
            Part::Week => ("toInt64(toISOWeek(", "))"),
            Part::Day => ("toInt64(toDayOfMonth(", "))"),
            Part::DayOfYear => ("toInt64(toDayOfYear(", "))"),
            Part::DayOfWeek => ("toInt64(toDayOfWeek(", ") % 7)"),
            Part::IsoDayOfWeek => ("toInt64(toDayOfWeek(", "))"),
            Part::Hour => ("toInt64(toHour(", "))"),
            Part::Minute => ("toInt64(toMinute(", "))"),
            Part::Second => ("toInt64(toSecond(", "))"),
            Part::Epoch => return self.around("(toUnixTimestamp64Milli(", time, ") / 1000)"),
        };
        self.around(before, time, if matches!(part, Part::DayOfWeek | Part::IsoDayOfWeek) { ", 0" } else { "" });
        self.zone_argument(zone);
        self.push(after);
    }

    fn shift(&mut self, time: &Expr, by: Interval, zone: &Zone) {
        // Months first, as PostgreSQL does.
        let steps = [("addDays", by.days), ("addMonths", by.months)];
        let steps: Vec<_> = steps.into_iter().filter(|(_, amount)| *amount != 0).collect();
        if by.ms == 0 {
            return self.steps(time, &steps, zone);
        }
        self.push("addMilliseconds(");
        self.steps(time, &steps, zone);
        self.push(&format!(", {})", by.ms));
    }

    /// Steps of the calendar, the last one first: to the same time of another day in the zone. Where its clocks leave that time out, the engine goes back by
    /// as much as they are put forward; what is meant is what a clock says that nobody put forward, so the time of day is counted apart, and from it
    /// the distance from UTC that holds at the engine's instant.
    fn steps(&mut self, time: &Expr, steps: &[(&str, i64)], zone: &Zone) {
        let Some(((function, amount), before)) = steps.split_first() else { return self.expr(time) };
        if zone.is_utc() {
            self.push(&format!("{function}("));
            self.steps(time, before, zone);
            return self.push(&format!(", {amount})"));
        }
        self.push(&format!("addMilliseconds({function}(addMilliseconds("));
        self.steps(time, before, zone);
        self.push(", 1000 * timezoneOffset(");
        self.in_zone(zone, |e| e.steps(time, before, zone));
        self.push(&format!(")), {amount}), -1000 * timezoneOffset({function}("));
        self.in_zone(zone, |e| e.steps(time, before, zone));
        self.push(&format!(", {amount})))"));
    }
}
