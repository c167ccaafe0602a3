//! `{p0:String}` -> `:p0`, which the independent parser can read. On the way every byte is looked at.

use std::collections::HashMap;

use super::Refusal;
use crate::seal::Param;

/// Types that values may be bound as.
const KINDS: [&str; 7] =
    ["String", "Int64", "Float64", "DateTime64(3, 'UTC')", "Array(String)", "Array(Float64)", "Array(Int64)"];

/// The text with its placeholders rewritten, if each is bound once under its name and type.
pub(super) fn rewrite(text: &str, params: &[Param]) -> Result<String, Refusal> {
    foreign(text)?;
    let mut kinds = HashMap::with_capacity(params.len());
    for param in params {
        if kinds.insert(param.name.as_str(), param.kind).is_some() {
            return Err(Refusal::Parameter(param.name.clone()));
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '\'']) {
        let (before, from) = rest.split_at(at);
        push_plain(before, &mut out)?;
        rest = if let Some(inner) = from.strip_prefix('{') {
            let (placeholder, after) = inner.split_once('}').ok_or(Refusal::Foreign("an open brace"))?;
            out.push(':');
            out.push_str(bound(placeholder, &kinds)?);
            out.push(' ');
            after
        } else {
            let end = from[1..].find('\'').ok_or(Refusal::Foreign("an open quote"))? + 2;
            out.push_str(&from[..end]);
            &from[end..]
        };
    }
    push_plain(rest, &mut out)?;
    Ok(out)
}

/// Text between placeholders and quotes; a colon there would look like a placeholder that nothing is bound to.
fn push_plain(text: &str, out: &mut String) -> Result<(), Refusal> {
    if text.contains([':', '}']) {
        return Err(Refusal::Foreign("a colon or brace outside a placeholder"));
    }
    out.push_str(text);
    Ok(())
}

/// Bytes with which a text could end early, hide something, or be read in two ways.
fn foreign(text: &str) -> Result<(), Refusal> {
    let printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !printable {
        return Err(Refusal::Foreign("a byte outside printable ASCII"));
    }
    if text.contains(['\\', '"', '`', ';', '#', '$', '@', '?', '[', ']', '~', '^', '&', '|']) {
        return Err(Refusal::Foreign("this character"));
    }
    if text.contains("--") || text.contains("/*") || text.contains("//") || text.contains("''''") {
        return Err(Refusal::Foreign("a comment"));
    }
    Ok(())
}

/// The name in `name:type`, if a value of this type is bound to it.
fn bound<'t>(placeholder: &'t str, kinds: &HashMap<&str, &str>) -> Result<&'t str, Refusal> {
    match placeholder.split_once(':') {
        Some((name, kind)) if KINDS.contains(&kind) && kinds.get(name) == Some(&kind) && plain(name) => Ok(name),
        _ => Err(Refusal::Parameter(placeholder.to_owned())),
    }
}

fn plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}
