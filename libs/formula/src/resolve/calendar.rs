//! What depends on a zone: truncation, parts of a date, now.

use super::{Expr, Node, Outcome, Resolver, Rule, Span, Type, ast, fault, literal_text};
use crate::{
    ast::{Call, Word},
    grain::{Grain, PART_FUNCTIONS, PARTS, Part, part_named},
    suggest::did_you_mean,
    time,
};

impl Resolver<'_> {
    /// The call, if it is one of the calendar's.
    pub(super) fn calendar(&mut self, call: &Call, span: Span) -> Option<Outcome<Expr>> {
        let name = call.name.text.to_ascii_lowercase();
        let outcome = match name.as_str() {
            "now" | "today" | "current_date" | "current_timestamp" => {
                self.arguments(call, 0, 0).and_then(|_| self.current(&name, span).unwrap_or_else(|| unknown(span)))
            }
            "date_trunc" => self.date_trunc(call, span),
            "date_part" => self.date_part(call, span),
            "date_diff" | "datediff" => self.date_diff(call, span),
            "date" => self.date(call, span),
            _ => {
                let part = part_named(&PART_FUNCTIONS, &name)?;
                self.arguments(call, 1, 2).and_then(|args| {
                    let time = self.time_in(&args[0], args.get(1))?;
                    Ok(self.part(part, time, span))
                })
            }
        };
        Some(outcome)
    }

    /// `now()` and its relatives; some are written without brackets.
    pub(super) fn current(&self, name: &str, span: Span) -> Option<Outcome<Expr>> {
        let now = Expr::new(Node::Time(self.context.now_ms), Type::Time, span);
        match name.to_ascii_lowercase().as_str() {
            "now" | "current_timestamp" => Some(Ok(now)),
            "today" | "current_date" => Some(self.truncate(Grain::Day, now, span)),
            _ => None,
        }
    }

    fn date_trunc(&mut self, call: &Call, span: Span) -> Outcome<Expr> {
        let args = self.arguments(call, 2, 3)?;
        let grain = grain(&args[0])?;
        let time = self.time_in(&args[1], args.get(2))?;
        self.truncate(grain, time, span)
    }

    /// `DATE(time)`
    fn date(&mut self, call: &Call, span: Span) -> Outcome<Expr> {
        let args = self.arguments(call, 1, 2)?;
        let time = self.time_in(&args[0], args.get(1))?;
        self.truncate(Grain::Day, time, span)
    }

    fn date_part(&mut self, call: &Call, span: Span) -> Outcome<Expr> {
        let args = self.arguments(call, 2, 3)?;
        let part = part(&literal_text(&args[0], "the part of a date")?)?;
        let time = self.time_in(&args[1], args.get(2))?;
        Ok(self.part(part, time, span))
    }

    fn date_diff(&mut self, call: &Call, span: Span) -> Outcome<Expr> {
        let args = self.arguments(call, 3, 3)?;
        let grain = grain(&args[0])?;
        let from = self.expr_of(&args[1], Type::Time)?;
        let to = self.expr_of(&args[2], Type::Time)?;
        let zone = self.zone_of(&from);
        Ok(Expr::new(Node::Difference(grain, zone, Box::new(from), Box::new(to)), Type::Integer, span))
    }

    pub(super) fn extract(&mut self, name: &Word, time: &ast::Expr, span: Span) -> Outcome<Expr> {
        let part = part(name)?;
        let time = self.expr_of(time, Type::Time)?;
        Ok(self.part(part, time, span))
    }

    pub(super) fn at_time_zone(&mut self, time: &ast::Expr, zone: &ast::Expr, span: Span) -> Outcome<Expr> {
        self.time_in(time, Some(zone)).map(|time| Expr { span, ..time })
    }

    /// The time, read in the zone if one is given.
    fn time_in(&mut self, time: &ast::Expr, zone: Option<&ast::Expr>) -> Outcome<Expr> {
        let Some(zone) = zone else { return self.expr_of(time, Type::Time) };
        let word = literal_text(zone, "the time zone")?;
        let zone = self.named_zone(&word.text, word.span)?;
        let time = self.expr(time, Some(Type::Time))?;
        let time = self.literal_as(time, Type::Time, &zone)?;
        let time = self.coerce(time, Type::Time)?;
        let span = time.span.to(word.span);
        Ok(Expr::new(Node::InZone(Box::new(time), zone), Type::Time, span))
    }

    /// The start of the bucket; that of a constant is known now.
    pub(super) fn truncate(&self, grain: Grain, time: Expr, span: Span) -> Outcome<Expr> {
        let zone = self.zone_of(&time);
        let time = out_of_zone(time);
        if let Node::Time(ms) = time.node {
            return match time::bucket_start(ms, grain, &zone) {
                Some(ms) => {
                    let start = Expr::new(Node::Time(ms), Type::Time, span);
                    Ok(Expr::new(Node::InZone(Box::new(start), zone), Type::Time, span).simplified(&self.zone))
                }
                None => fault(span, Rule::InvalidTime, "this time lies outside the years 1900 to 2299"),
            };
        }
        Ok(Expr::new(Node::Truncate(grain, zone, Box::new(time)), Type::Time, span))
    }

    fn part(&self, part: Part, time: Expr, span: Span) -> Expr {
        let zone = self.zone_of(&time);
        let ty = if part == Part::Epoch { Type::Number } else { Type::Integer };
        Expr::new(Node::Part(part, zone, Box::new(out_of_zone(time))), ty, span)
    }
}

impl Expr {
    /// A constant in the context's own zone needs no note of it.
    fn simplified(self, own: &time::Zone) -> Self {
        match self.node {
            Node::InZone(inner, zone) if zone == *own => *inner,
            node => Self { node, ..self },
        }
    }
}

/// The instant, whatever zone it was read in.
fn out_of_zone(time: Expr) -> Expr {
    match time.node {
        Node::InZone(inner, _) => out_of_zone(*inner),
        node => Expr { node, ..time },
    }
}

fn grain(expr: &ast::Expr) -> Outcome<Grain> {
    let word = literal_text(expr, "the grain")?;
    match Grain::from_name(&word.text) {
        Some(grain) => Ok(grain),
        None => {
            let names = Grain::ALL.map(Grain::name);
            let near = did_you_mean(&word.text, names);
            let message = format!("there is no grain of this name; the grains are {}{near}", names.join(", "));
            fault(word.span, Rule::WrongArguments, message)
        }
    }
}

fn part(word: &Word) -> Outcome<Part> {
    match part_named(&PARTS, &word.text) {
        Some(part) => Ok(part),
        None => {
            let near = did_you_mean(&word.text, PARTS.map(|(name, _)| name));
            let message = format!(
                "a time has no part of this name; there are year, quarter, month, week, day, doy, dow, isodow, hour, minute, second, epoch{near}"
            );
            fault(word.span, Rule::WrongArguments, message)
        }
    }
}

fn unknown<T>(span: Span) -> Outcome<T> {
    fault(span, Rule::UnknownFunction, "there is no such function")
}
