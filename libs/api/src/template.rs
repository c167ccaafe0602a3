//! Path templates of `google.api.http`, as far as the contracts use them: literal segments, `{field}` for one segment, and a
//! `:verb` at the end.

/// What a path says: (field path, decoded text).
pub type Variables = Vec<(String, String)>;

/// A parsed path template.
#[derive(Debug, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
    verb: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Variable(String),
}

impl Template {
    /// What the contract has as a path.
    pub fn parse(path: &str) -> Self {
        let (path, verb) = split_verb(path);
        let segments = path.trim_start_matches('/').split('/').map(|segment| {
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                Some(name) => Segment::Variable(name.to_owned()),
                None => Segment::Literal(segment.to_owned()),
            }
        });
        Self { segments: segments.collect(), verb: verb.map(str::to_owned) }
    }

    /// The variables of a path that fits.
    pub fn matches(&self, path: &str) -> Option<Variables> {
        let (path, verb) = split_verb(path);
        if verb != self.verb.as_deref() {
            return None;
        }
        let mut variables = Vec::new();
        let mut given = path.trim_start_matches('/').split('/');
        for segment in &self.segments {
            match (segment, given.next()?) {
                (Segment::Literal(literal), text) if literal == text => {}
                (Segment::Variable(name), text) if !text.is_empty() => {
                    variables.push((name.clone(), percent_decode(text)))
                }
                _ => return None,
            }
        }
        given.next().is_none().then_some(variables)
    }
}

fn split_verb(path: &str) -> (&str, Option<&str>) {
    let last = path.rfind('/').map_or(0, |at| at + 1);
    match path[last..].rfind(':') {
        Some(at) => (&path[..last + at], Some(&path[last + at + 1..])),
        None => (path, None),
    }
}

/// `%41` decoded; what isn't UTF-8 becomes U+FFFD, which no name contains.
pub fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok())
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
                continue;
            }
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, path: &str, expect: Option<&[(&str, &str)]>) {
        let expect =
            expect.map(|pairs| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>());
        assert_eq!(Template::parse(template).matches(path), expect, "{template} {path}");
    }

    #[test]
    fn paths_fit_by_segment_and_verb() {
        check("/v1/sql", "/v1/sql", Some(&[]));
        check("/v1/sql", "/v1/sql/", None);
        check("/v1/sql", "/v1/sql:stream", None);
        check("/v1/sql:stream", "/v1/sql:stream", Some(&[]));
        check("/v1/apps/{app_id}/metrics", "/v1/apps/x/metrics", Some(&[("app_id", "x")]));
        check("/v1/apps/{app_id}/metrics", "/v1/apps//metrics", None);
        check(
            "/v1/apps/{app_id}/metrics/{name}:evaluate",
            "/v1/apps/x/metrics/a%20b:evaluate",
            Some(&[("app_id", "x"), ("name", "a b")]),
        );
        check("/v1/apps/{app_id}/metrics/{name}", "/v1/apps/x/metrics/r:evaluate", None);
        check(
            "/v1/apps/{app_id}/metrics/{d.name}",
            "/v1/apps/x+y/metrics/%zz%4",
            Some(&[("app_id", "x+y"), ("d.name", "%zz%4")]),
        );
    }
}
