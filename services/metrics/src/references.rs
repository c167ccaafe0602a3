//! Metrics that name others: which version of which, and what these name in turn.

use std::collections::VecDeque;

use formula::{Formula, references};
use model::{Error, Metric, Violation};
use storage::App;

use crate::service::{Metrics, stored};

/// No more metrics stand in one.
const MAX_METRICS: usize = 64;

/// A formula's text with the versions that it means, and all metrics that it rests on.
pub(crate) struct Rested {
    pub(crate) formula: String,
    pub(crate) on: Vec<Formula>,
}

impl Metrics {
    /// Finds all that a formula rests on; `own` is the name of its metric. The refusals are of `field`.
    pub(crate) async fn rested(&self, app: &App, own: &str, text: &str, field: &str) -> Result<Rested, Error> {
        let mut formula = String::with_capacity(text.len());
        let mut on: Vec<Formula> = Vec::new();
        let mut waiting: VecDeque<(Metric, Vec<String>)> = VecDeque::new();
        let mut copied = 0;
        for (at, named) in references(text) {
            let refuse = |error: Error| placed(field, (at.start, at.end), error);
            let metric = self.named_in(app, named).await.map_err(refuse)?;
            formula += &text[copied..at.start];
            formula += &format!("{{{}}}", key(&metric));
            copied = at.end;
            waiting.push_back((metric, vec![own.to_owned()]));
            while let Some((metric, mut path)) = waiting.pop_front() {
                path.push(metric.name.clone());
                if metric.name == own {
                    let description = format!("the metric would be defined by itself: {}", path.join(" -> "));
                    return Err(refuse(Error::invalid(field, "CYCLE", description)));
                }
                if on.iter().any(|known| known.name == key(&metric)) {
                    continue;
                }
                if on.len() == MAX_METRICS {
                    let description = format!("the formula rests on more than {MAX_METRICS} other metrics");
                    return Err(refuse(Error::invalid(field, "TOO_LARGE", description)));
                }
                for (_, named) in references(&metric.formula) {
                    waiting.push_back((self.named_in(app, named).await.map_err(refuse)?, path.clone()));
                }
                let name = key(&metric);
                let Metric { formula, filters, unit, .. } = metric;
                on.push(Formula { name, formula, filters, unit });
            }
        }
        formula += &text[copied..];
        Ok(Rested { formula, on })
    }

    /// The metric of that name, `revenue`, or a version of it, `revenue@3`.
    async fn named_in(&self, app: &App, named: &str) -> Result<Metric, Error> {
        let (name, version) = match named.split_once('@') {
            Some((name, version)) => (name, version.parse().ok()),
            None => (named, None),
        };
        let metric = self.store.metric(&app.tenant, &app.id, name, version).await.map_err(stored)?;
        metric.ok_or_else(|| Error::invalid("", "UNKNOWN_METRIC", format!("there is no metric `{named}`")))
    }
}

fn key(metric: &Metric) -> String {
    format!("{}@{}", metric.name, metric.version)
}

/// The refusal as one of the field, and of the place in it if it holds the formula; a failure of the metastore stays what it is.
fn placed(field: &str, span: (usize, usize), error: Error) -> Error {
    let Some(Violation { description, reason, .. }) = error.violations.first().cloned() else { return error };
    let message = format!("{field}: {description}");
    let span = Some(span).filter(|_| field.ends_with("formula"));
    let violation = Violation { field: field.to_owned(), description, reason, span };
    Error { message, violations: vec![violation], ..error }
}
