//! A made event as Penstock's message.

use api::{
    raw::{Event, Value},
    v1::{self, value::Kind},
};
use model::DAY_MS;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::{Form, Made, NUMBERS, TEXTS, User, week::WEEK_MS};

/// 1970 began on a Thursday; its first Monday was four days later.
const FIRST_MONDAY_MS: i64 = 4 * DAY_MS;

/// When the event happens in the seven days up to `now_ms`, UTC ms. What would lie ahead of it happened a week ago.
pub fn time_in_last_week(event: &Made, now_ms: i64) -> i64 {
    let monday_ms = (now_ms - FIRST_MONDAY_MS).div_euclid(WEEK_MS) * WEEK_MS + FIRST_MONDAY_MS;
    let at_ms = monday_ms + event.at_ms;
    if at_ms > now_ms { at_ms - WEEK_MS } else { at_ms }
}

/// The id of an event.
pub fn event_id(seed: u64, number: u64) -> String {
    format!("{seed:x}-{number:012x}")
}

/// The id of an event as a random UUID: what most clients send.
pub fn uuid(seed: u64, number: u64) -> String {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let bits =
        rng.random::<u128>() & !0x0000_0000_0000_f000_c000_0000_0000_0000 | 0x0000_0000_0000_4000_8000_0000_0000_0000;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The message, written as it goes out. The app is the batch's.
pub fn event(made: &Made, user: &User, event_id: &str, timestamp_ms: i64) -> Event {
    let mut event = Event::new(made.event_type).with_id(event_id).by(&user.id).at(timestamp_ms);
    for ((name, form), value) in NUMBERS.iter().zip(made.numbers) {
        if let Some(value) = value {
            event.set(name, number(*form, value));
        }
    }
    for (name, text) in TEXTS.iter().zip(made.texts) {
        if let Some(text) = text {
            event.set(name, Value::Text(text));
        }
    }
    event
}

/// What is known of a user.
pub fn identify(user: &User, app: &str) -> v1::IdentifyRequest {
    let text = |text: &str| v1::Value { kind: Some(Kind::String(text.to_owned())) };
    v1::IdentifyRequest {
        app_id: app.to_owned(),
        user_id: user.id.clone(),
        traits: [("country".to_owned(), text(user.country)), ("plan".to_owned(), text(user.plan))].into(),
        ..Default::default()
    }
}

fn number(form: Form, value: f64) -> Value<'static> {
    match form {
        Form::Float => Value::Number(value),
        Form::Integer => Value::Integer(value as i64),
        Form::Bool => Value::Bool(value != 0.0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use prost::Message;

    use super::*;
    use crate::shop::{Density, Users, Week};

    /// A Wednesday, 12:34 UTC.
    const NOW_MS: i64 = 1_790_166_840_000;

    #[test]
    fn the_week_ends_now_and_keeps_its_hours_and_days() {
        let users = Users::new(1);
        for event in Week::new(1, &users, 5_000, Density::Natural) {
            let at_ms = time_in_last_week(&event, NOW_MS);
            assert!((NOW_MS - WEEK_MS..=NOW_MS).contains(&at_ms));
            assert_eq!((at_ms - FIRST_MONDAY_MS).rem_euclid(WEEK_MS), event.at_ms);
        }
    }

    #[test]
    fn what_is_sent_is_within_the_default_limits() {
        let users = Users::new(3);
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for density in [Density::Natural, Density::Full] {
            for made in Week::new(3, &users, 3_000, density) {
                let number = made.number + if density == Density::Full { 1 << 40 } else { 0 };
                let event = event(&made, users.get(made.user), &event_id(3, number), NOW_MS);
                let event = v1::Event::decode(event.bytes()).unwrap();
                assert!((1..=128).contains(&event.event_type.len()) && (1..=256).contains(&event.user_id.len()));
                assert!((1..=128).contains(&event.event_id.len()) && ids.insert(event.event_id));
                for (name, value) in event.properties {
                    match value.kind.unwrap() {
                        Kind::Number(x) => assert!(x.is_finite() && x >= 0.0, "{name} {x}"),
                        Kind::Integer(i) => assert!((0..1 << 53).contains(&i), "{name} {i}"),
                        Kind::String(text) => assert!((1..=1_024).contains(&text.len()), "{name} {text}"),
                        Kind::Bool(_) => {}
                        other => panic!("{name} {other:?}"),
                    }
                    names.insert(name);
                }
            }
        }
        assert_eq!(names.len(), NUMBERS.len() + TEXTS.len());
    }
}
