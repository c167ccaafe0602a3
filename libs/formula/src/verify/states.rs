//! `AggregateFunction(...)` -> one word that the independent parser can read. Only states that the compiler makes are let through.

use super::Refusal;

/// What stands for the type of a state. No text may hold it already.
const WORD: &str = "StateOfBucket";
const TYPE: &str = "AggregateFunction(";

/// The aggregates that have states, and whether a share stands behind the name.
const FUNCTIONS: [(&str, bool); 12] = [
    ("count", false),
    ("sum", false),
    ("avg", false),
    ("min", false),
    ("max", false),
    ("uniqExact", false),
    ("uniqCombined64", false),
    ("groupArray", false),
    ("stddevSampStable", false),
    ("varSampStable", false),
    ("quantileTDigest", true),
    ("quantileExactInclusive", true),
];

const ARGUMENTS: [&str; 5] =
    ["Nullable(Float64)", "Nullable(Int64)", "Nullable(String)", "Nullable(Bool)", "Nullable(DateTime64(3, 'UTC'))"];

/// The text with a word in the place of each type of a state.
pub(super) fn rewrite(text: &str) -> Result<String, Refusal> {
    if text.contains(WORD) {
        return Err(Refusal::Foreign("this word"));
    }
    let mut pieces = text.split(TYPE);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(WORD);
        out.push_str(after_type(piece).ok_or(Refusal::Value("type of a state"))?);
    }
    Ok(out)
}

/// What follows the type whose inside this begins with.
fn after_type(inside: &str) -> Option<&str> {
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric())?;
    let (name, mut rest) = inside.split_at(end);
    if has_share(name)? {
        let (share, after) = rest.strip_prefix('(')?.split_once(')')?;
        share.bytes().all(|b| b.is_ascii_digit() || b == b'.').then_some(())?;
        rest = after;
    }
    while let Some(argument) = rest.strip_prefix(", ") {
        rest = ARGUMENTS.iter().find_map(|known| argument.strip_prefix(known))?;
    }
    rest.strip_prefix(')')
}

fn has_share(name: &str) -> Option<bool> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, share)| *share)
}

/// Whether the function makes a state, or merges some.
pub(super) fn function(name: &str) -> bool {
    let base = name.strip_suffix("State").or_else(|| name.strip_suffix("Merge"));
    base.is_some_and(|base| has_share(base).is_some())
}

/// Whether this is the word.
pub(super) fn is_type(name: &str) -> bool {
    name == WORD
}
