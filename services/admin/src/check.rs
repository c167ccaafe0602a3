//! The rules of single fields.

use std::sync::OnceLock;

use http::uri::Authority;
use jiff::tz::TimeZoneDatabase;
use model::Error;

/// The longest id of a user, in bytes: no setting of ingest takes a longer one.
const MAX_USER_BYTES: usize = 1024;
/// The longest name for people, in bytes.
const MAX_DISPLAY_NAME_BYTES: usize = 128;

/// Both, or the broken rules of both.
pub(crate) fn both<A, B>(a: Result<A, Error>, b: Result<B, Error>) -> Result<(A, B), Error> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(a), Err(b)) => Err(a.and(b)),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// A name for people; `default` if none is given.
pub(crate) fn display_name(field: &str, given: String, default: &str) -> Result<String, Error> {
    if given.len() > MAX_DISPLAY_NAME_BYTES {
        let description = format!("must have at most {MAX_DISPLAY_NAME_BYTES} bytes, not {}", given.len());
        return Err(Error::invalid(field, "TOO_LONG", description));
    }
    if given.contains('\0') {
        // PostgreSQL's texts can't have it.
        return Err(Error::invalid(field, "MALFORMED", "must not have the character U+0000"));
    }
    Ok(if given.is_empty() { default.to_owned() } else { given })
}

/// The origin of a web page, as browsers send it: never longer or otherwise, so that equal is what is equal byte by byte.
pub(crate) fn origin(field: &str, given: &str) -> Result<String, Error> {
    const MAX_BYTES: usize = 256;
    if given.len() > MAX_BYTES {
        let description = format!("must have at most {MAX_BYTES} bytes, not {}", given.len());
        return Err(Error::invalid(field, "TOO_LONG", description));
    }
    if is_origin(given) {
        return Ok(given.to_owned());
    }
    let description = "must be as browsers send it: \"https://dash.example\" or \"http://localhost:8080\", in lower case, without the scheme's \
         own port, a path or a slash at the end";
    Err(Error::invalid(field, if given.is_empty() { "REQUIRED" } else { "MALFORMED" }, description))
}

fn is_origin(text: &str) -> bool {
    let of_scheme = |scheme: &str, own_port: u16| {
        let rest = text.strip_prefix(scheme)?;
        let authority: Authority = rest.parse().ok()?;
        let port = authority.port_u16();
        let host = authority.host();
        let again = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.[:]".contains(&b);
        Some(again == rest && port != Some(own_port) && !host.is_empty() && host.bytes().all(plain))
    };
    of_scheme("https://", 443).or_else(|| of_scheme("http://", 80)).unwrap_or(false)
}

/// The id of a user, as ingest takes it.
pub(crate) fn user_id(field: &str, given: String) -> Result<String, Error> {
    let fault = |rule, what: String| Err(Error::invalid(field, rule, what));
    match given.len() {
        0 => fault("REQUIRED", format!("must have 1 to {MAX_USER_BYTES} bytes")),
        bytes if bytes > MAX_USER_BYTES => {
            fault("TOO_LONG", format!("must have at most {MAX_USER_BYTES} bytes, not {bytes}"))
        }
        _ if given.bytes().any(|b| b.is_ascii_control()) => {
            fault("MALFORMED", "must have no control characters: no user's id has".to_owned())
        }
        _ => Ok(given),
    }
}

/// How many to list: of what was asked for, or a hundred.
pub(crate) fn page_size(given: u32) -> Result<u32, Error> {
    const MOST: u32 = 1_000;
    match given {
        0 => Ok(100),
        size if size <= MOST => Ok(size),
        size => Err(Error::invalid("page_size", "TOO_MANY", format!("is {size}, the limit is {MOST}"))),
    }
}

/// The id of a thing that an answer of `method` named.
pub(crate) fn given_id<'a>(field: &str, id: &'a str, method: &str) -> Result<&'a str, Error> {
    if !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(id);
    }
    let rule = if id.is_empty() { "REQUIRED" } else { "MALFORMED" };
    Err(Error::invalid(field, rule, format!("must be the `{field}` of an answer to {method}")))
}

/// Where a list goes on: after the thing of that time and id.
pub(crate) fn page_token(time_ms: i64, id: &str) -> String {
    format!("{time_ms}-{id}")
}

/// The time and id in a [`page_token`].
pub(crate) fn before(token: &str) -> Result<Option<(i64, &str)>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts = token.split_once('-').and_then(|(time_ms, id)| Some((time_ms.parse().ok()?, id)));
    let parts = parts.filter(|(_, id)| id.bytes().all(|b| b.is_ascii_alphanumeric()));
    let wrong = || Error::invalid("page_token", "MALFORMED", "must be the `next_page_token` of an earlier answer");
    parts.ok_or_else(wrong).map(Some)
}

/// The IANA name of a time zone as the database spells it; none if none is given.
pub(crate) fn zone_if_any(field: &str, given: &str) -> Result<Option<String>, Error> {
    if given.is_empty() { Ok(None) } else { time_zone(field, given).map(Some) }
}

/// The IANA name of a time zone as the database spells it.
fn time_zone(field: &str, given: &str) -> Result<String, Error> {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    // The bundled database, which queries use too: a zone that is taken here is known there, on whatever host.
    let zone = DATABASE.get_or_init(TimeZoneDatabase::bundled).get(given);
    let name = zone.ok().and_then(|zone| zone.iana_name().map(str::to_owned));
    name.ok_or_else(|| {
        Error::invalid(
            field,
            "UNKNOWN_TIME_ZONE",
            "must be the IANA name of a time zone, as in \"Europe/Berlin\" or \"UTC\"",
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_known_by_their_iana_name() {
        for (given, name) in [("UTC", "UTC"), ("europe/berlin", "Europe/Berlin"), ("Asia/Kathmandu", "Asia/Kathmandu")]
        {
            assert_eq!(zone_if_any("z", given).unwrap().as_deref(), Some(name));
        }
        assert_eq!(zone_if_any("z", "").unwrap(), None);
        for unknown in ["Berlin", "Europe/Berlin ", "+01:00", "../etc/passwd", "a\0b", &"x".repeat(9999)] {
            assert_eq!(zone_if_any("z", unknown).unwrap_err().violations[0].field, "z", "{unknown:?}");
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in [
            "https://dash.example",
            "http://localhost:8080",
            "https://xn--bcher-kva.example",
            "http://127.0.0.1",
            "https://[::1]:8443",
        ] {
            assert_eq!(origin("o", good).unwrap(), good);
        }
        for (bad, rule) in [
            ("", "REQUIRED"),
            ("*", "MALFORMED"),
            ("null", "MALFORMED"),
            ("dash.example", "MALFORMED"),
            ("https://", "MALFORMED"),
            ("https://dash.example/", "MALFORMED"),
            ("https://dash.example/path", "MALFORMED"),
            ("https://Dash.example", "MALFORMED"),
            ("HTTPS://dash.example", "MALFORMED"),
            ("https://dash.example:443", "MALFORMED"),
            ("http://dash.example:80", "MALFORMED"),
            ("https://dash.example:08443", "MALFORMED"),
            ("https://dash.example:", "MALFORMED"),
            ("https://user@dash.example", "MALFORMED"),
            ("https://*.example", "MALFORMED"),
            ("https://dash.example https://b.example", "MALFORMED"),
            ("ftp://dash.example", "MALFORMED"),
            (&format!("https://{}", "x".repeat(250)), "TOO_LONG"),
        ] {
            assert_eq!(origin("o", bad).unwrap_err().violations[0].reason, rule, "{bad}");
        }
    }

    #[test]
    fn a_display_name_counts_bytes() {
        assert_eq!(display_name("n", "ä".repeat(64), "d").unwrap(), "ä".repeat(64));
        assert_eq!(display_name("n", String::new(), "d").unwrap(), "d");
        assert_eq!(display_name("n", "ä".repeat(65), "d").unwrap_err().violations[0].reason, "TOO_LONG");
    }

    #[test]
    fn both_keeps_every_fault() {
        let fault = |field: &str| Err::<(), _>(Error::invalid(field, "R", "is wrong"));
        let error = both(both(fault("a"), Ok(())), fault("c")).unwrap_err();
        assert_eq!(error.violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn a_token_leads_on_and_nothing_else_is_one() {
        assert_eq!(before("").unwrap(), None);
        assert_eq!(before("17-ab0").unwrap(), Some((17, "ab0")));
        for bad in ["x", "17", "x-ab", "17-a'b", "17-a-b"] {
            assert_eq!(before(bad).unwrap_err().violations[0].field, "page_token");
        }
    }
}
