//! What is asked in SQL, of both engines.

mod aggregates;
mod calendar;
mod conditions;
mod nested;
mod rows;

use super::answer::{Bound, ROUNDING};

/// One question. Unless told otherwise both engines get the same text, rows come in the same order, and every value is
/// equal.
pub struct Question {
    pub name: &'static str,
    /// The zone in which both engines count.
    pub zone: &'static str,
    pub ours: &'static str,
    theirs: Option<&'static str>,
    /// Whether the text leaves the order of the rows open.
    pub any_order: bool,
    /// Columns that can't be equal, and how near they are.
    pub bounds: &'static [(usize, Bound)],
    scales: &'static str,
}

/// All questions.
pub fn all() -> impl Iterator<Item = Question> {
    aggregates::QUESTIONS
        .into_iter()
        .chain(conditions::QUESTIONS)
        .chain(calendar::QUESTIONS)
        .chain(rows::QUESTIONS)
        .chain(nested::QUESTIONS)
}

const fn ask(name: &'static str, ours: &'static str) -> Question {
    Question { name, zone: "UTC", ours, theirs: None, any_order: false, bounds: &[], scales: "" }
}

impl Question {
    /// In the other engine's words.
    const fn in_duckdb(self, theirs: &'static str) -> Self {
        Self { theirs: Some(theirs), ..self }
    }

    const fn in_zone(self, zone: &'static str) -> Self {
        Self { zone, ..self }
    }

    const fn in_any_order(self) -> Self {
        Self { any_order: true, ..self }
    }

    /// The bounds' scales are further columns of the other engine's answer, in the order of the columns they are for.
    const fn near(self, bounds: &'static [(usize, Bound)], scales: &'static str) -> Self {
        Self { bounds, scales, ..self }
    }

    /// The text for the other engine, with the columns of the scales.
    pub fn theirs(&self) -> String {
        let text = self.theirs.unwrap_or(self.ours);
        if self.scales.is_empty() {
            return text.to_owned();
        }
        let (select, rest) = text.split_once(" FROM events").expect("a question reads events");
        format!("{select}, {} FROM events{rest}", self.scales)
    }
}
