//! `multipart/form-data` as ClickHouse's clients send it: small named fields, all in memory.

use crate::error::QueryError;

/// The boundary of a `multipart/form-data` content type; `None` for any other type.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    kind.trim().eq_ignore_ascii_case("multipart/form-data").then_some(())?;
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })
}

/// The fields of `body` in order. A field with a file name is an external table, which is not supported.
pub(crate) fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, QueryError> {
    let bad = |what: &str| QueryError::bad_arguments(format!("Malformed multipart body: {what}."));
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(b"\r\n").unwrap_or(body);
    rest = rest.strip_prefix(delimiter.as_bytes()).ok_or_else(|| bad("no boundary at its start"))?;
    let delimiter = format!("\r\n--{boundary}");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let part = rest.strip_prefix(b"\r\n").ok_or_else(|| bad("no line end after a boundary"))?;
        let end = find(part, delimiter.as_bytes()).ok_or_else(|| bad("no boundary at its end"))?;
        fields.push(field(&part[..end])?);
        rest = &part[end + delimiter.len()..];
    }
    Ok(fields)
}

fn field(part: &[u8]) -> Result<(String, String), QueryError> {
    let bad = |what: &str| QueryError::bad_arguments(format!("Malformed multipart field: {what}."));
    let split = find(part, b"\r\n\r\n").ok_or_else(|| bad("no empty line after its headers"))?;
    let headers = std::str::from_utf8(&part[..split]).map_err(|_| bad("headers are not UTF-8"))?;
    let disposition = headers
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find_map(|(name, value)| name.trim().eq_ignore_ascii_case("content-disposition").then_some(value))
        .ok_or_else(|| bad("no Content-Disposition"))?;
    let attribute = |wanted: &str| {
        disposition.split(';').skip(1).find_map(|attribute| {
            let (name, value) = attribute.split_once('=')?;
            (name.trim() == wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    if attribute("filename").is_some() {
        return Err(QueryError::not_implemented("External tables in multipart bodies are not supported."));
    }
    let name = attribute("name").ok_or_else(|| bad("no name"))?;
    let value = String::from_utf8(part[split + 4..].to_vec()).map_err(|_| bad("a value that is not UTF-8"))?;
    Ok((name, value))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out_as_they_were_sent() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT\r\n1\r\n\
                    --b\r\nContent-Disposition: form-data; name=\"param_a\"\r\nContent-Type: text/plain\r\n\r\n\r\n--b--\r\n";
        let parsed = fields(body.as_bytes(), "b").unwrap();
        assert_eq!(parsed, [("query".into(), "SELECT\r\n1".into()), ("param_a".into(), String::new())]);
        assert_eq!(boundary("multipart/form-data; charset=x; boundary=\"b\""), Some("b"));
        assert_eq!(boundary("text/plain; boundary=b"), None);
    }

    #[test]
    fn broken_bodies_are_errors() {
        for body in
            ["", "--b", "--b\r\n", "--b\r\nx\r\n--b--", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--"]
        {
            assert_eq!(fields(body.as_bytes(), "b").unwrap_err().code, 36, "{body:?}");
        }
        let file = "--b\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\nx\r\n--b--";
        assert_eq!(fields(file.as_bytes(), "b").unwrap_err().code, 48);
    }
}
