//! JSON by its grammar: values that are valid and strange, and texts that no writer would write.

use rand::RngExt;
use serde_json::Value;

use super::{one_in, pick};
use crate::run::Random;

/// Values that readers take for others.
const LITERALS: [&str; 30] = [
    "null",
    "true",
    "0",
    "-0",
    "-0.0",
    "1e308",
    "1e309",
    "-1e999",
    "1E-400",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "NaN",
    "Infinity",
    "01",
    "+1",
    "1.",
    ".5",
    "0x10",
    "\"\\ud800\"",
    "\"\\ud83d\\ude00\"",
    "\"\\u0000\"",
    "\"\t\"",
    "'x'",
    "{\"time\":\"9999-12-31T23:59:60Z\"}",
    "{\"time\":1e3}",
    "{\"time\":-9223372036854775808}",
    "[[]]",
];

/// Breaks a JSON text at one to three places where a value or a member stands.
pub fn mutate(random: &mut Random, text: &str) -> Vec<u8> {
    let mut pieces: Vec<String> = tokens(text);
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..pieces.len().max(1)).min(pieces.len().saturating_sub(1));
        if pieces.is_empty() {
            break;
        }
        let to = (at + random.random_range(1..8)).min(pieces.len());
        match random.random_range(0..8) {
            0 => pieces[at] = pick(random, &LITERALS).to_owned(),
            1 => drop(pieces.remove(at)),
            2 => {
                let copy = pieces[at..to].to_vec();
                pieces.splice(at..at, copy);
            }
            3 => {
                let other = random.random_range(0..pieces.len());
                pieces.swap(at, other);
            }
            4 => {
                let depth = pick(random, &[3, 120, 127, 128, 129, 20_000]);
                pieces[at] = ["[".repeat(depth), "]".repeat(depth)].concat();
            }
            5 => pieces[at] = format!("{}1{}", "{\"a\":".repeat(130), "}".repeat(130)),
            6 => pieces[at] = format!("\"{}\"", "x".repeat(pick(random, &[128, 129, 257, 1_025, 70_000]))),
            _ => {
                pieces[at] =
                    format!("{}{}", "1".repeat(pick(random, &[20, 400, 5_000])), pick(random, &["", ".5", "e5"]))
            }
        }
    }
    pieces.concat().into_bytes()
}

/// Replaces values by others of any type; the text stays JSON.
pub fn retype(random: &mut Random, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() && !one_in(random, 5) => {
            let at = random.random_range(0..map.len());
            if let Some(inner) = map.values_mut().nth(at) {
                retype(random, inner);
            }
        }
        Value::Array(items) if !items.is_empty() && !one_in(random, 5) => {
            let at = random.random_range(0..items.len());
            retype(random, &mut items[at]);
        }
        other => *other = serde_json::from_str(pick(random, &LITERALS)).unwrap_or(Value::Null),
    }
}

/// Strings, numbers, words and punctuation, with the white space that stands before them.
fn tokens(text: &str) -> Vec<String> {
    let (mut tokens, mut token, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        token.push(c);
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => {
                quoted = !quoted;
                if !quoted {
                    tokens.push(std::mem::take(&mut token));
                }
            }
            '{' | '}' | '[' | ']' | ':' | ',' if !quoted => {
                token.pop();
                if !token.is_empty() {
                    tokens.push(std::mem::take(&mut token));
                }
                tokens.push(c.to_string());
            }
            _ => {}
        }
    }
    tokens.extend((!token.is_empty()).then_some(token));
    tokens
}
