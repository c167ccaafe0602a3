//! `{p0:String}` -> `:p0`, which the independent parser can read. On the way every byte is looked at.

use super::Refusal;
use crate::seal::Param;

/// Types that values may be bound as.
const KINDS: [&str; 7] =
    ["String", "Int64", "Float64", "DateTime64(3, 'UTC')", "Array(String)", "Array(Float64)", "Array(Int64)"];

/// The text with its placeholders rewritten, if each is bound once under its name and type.
pub(super) fn rewrite(text: &str, params: &[Param]) -> Result<String, Refusal> {
    foreign(text)?;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '\'']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = if let Some(inner) = from.strip_prefix('{') {
            let (placeholder, after) = inner.split_once('}').ok_or(Refusal::Foreign("an open brace"))?;
            out.push(':');
            out.push_str(bound(placeholder, params)?);
            out.push(' ');
            after
        } else {
            let end = from[1..].find('\'').ok_or(Refusal::Foreign("an open quote"))? + 2;
            out.push_str(&from[..end]);
            &from[end..]
        };
    }
    out.push_str(rest);
    Ok(out)
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

/// The name in `name:type`, if exactly one value is bound so.
fn bound<'t>(placeholder: &'t str, params: &[Param]) -> Result<&'t str, Refusal> {
    let unbound = || Refusal::Parameter(placeholder.to_owned());
    let (name, kind) = placeholder.split_once(':').ok_or_else(unbound)?;
    let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) && !name.is_empty();
    let known = KINDS.contains(&kind);
    let mut found = params.iter().filter(|param| param.name == name);
    match (found.next(), found.next()) {
        (Some(param), None) if is_name && known && param.kind == kind => Ok(name),
        _ => Err(unbound()),
    }
}
