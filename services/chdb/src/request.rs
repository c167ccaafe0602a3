//! Reads an HTTP request the way ClickHouse does: URL parameters, `X-ClickHouse-*` headers, multipart fields.

use http::request::Parts;
use http::{HeaderMap, Method, header};

use crate::encoding::Encoding;
use crate::error::QueryError;
use crate::multipart;

/// What a client asks for, apart from its body.
#[derive(Debug)]
pub(crate) struct QueryRequest {
    /// The client's, or a new one.
    pub(crate) query_id: String,
    /// The statement, or its beginning, from the URL.
    pub(crate) query: Option<String>,
    pub(crate) database: Option<String>,
    /// The format for results of statements that name none.
    pub(crate) format: Option<String>,
    /// Query parameters without `param_`, values escaped as in TSV.
    pub(crate) params: Vec<(String, String)>,
    /// Every other URL parameter: settings of this query.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) session: Option<SessionRequest>,
    /// The client's comment, for the query log.
    pub(crate) log_comment: Option<String>,
    /// GET: nothing may be changed.
    pub(crate) read_only: bool,
    /// Whether to hold the result back until the query has ended.
    pub(crate) wait_end: bool,
    /// Whether the body is in native blocks (`decompress=1`), and whether the result should be (`compress=1`).
    pub(crate) native_body: bool,
    pub(crate) native_result: bool,
    pub(crate) body_encoding: Encoding,
    pub(crate) result_encoding: Encoding,
    /// Set if the body is `multipart/form-data`.
    pub(crate) boundary: Option<String>,
    /// `password`, `X-ClickHouse-Key` or the password of basic authentication.
    pub(crate) access_key: Option<String>,
}

/// The session that a request names.
#[derive(Debug)]
pub(crate) struct SessionRequest {
    pub(crate) id: String,
    /// Seconds after which an idle session is forgotten.
    pub(crate) timeout_s: u64,
    /// `session_check=1`: the session must exist.
    pub(crate) must_exist: bool,
}

const MAX_ID_BYTES: usize = 256;
const DEFAULT_SESSION_TIMEOUT_S: u64 = 60;
const MAX_SESSION_TIMEOUT_S: u64 = 3600;

impl QueryRequest {
    /// From the head of a request.
    pub(crate) fn new(parts: &Parts) -> Result<Self, QueryError> {
        let text = |name: &str| header_text(&parts.headers, name);
        let mut request = Self {
            query_id: String::new(),
            query: None,
            database: text("x-clickhouse-database"),
            format: text("x-clickhouse-format"),
            params: Vec::new(),
            settings: Vec::new(),
            session: None,
            log_comment: None,
            read_only: parts.method == Method::GET,
            wait_end: false,
            native_body: false,
            native_result: false,
            body_encoding: Encoding::of_body(&text("content-encoding").unwrap_or_default())?,
            result_encoding: Encoding::accepted(&text("accept-encoding").unwrap_or_default()),
            boundary: text("content-type").and_then(|t| multipart::boundary(&t).map(str::to_owned)),
            access_key: text("x-clickhouse-key").or_else(|| basic_password(&parts.headers)),
        };
        let mut session = (None, DEFAULT_SESSION_TIMEOUT_S, false);
        for (name, value) in parse_query(parts.uri.query().unwrap_or_default())? {
            request.take(name, value, &mut session)?;
        }
        request.session = session.0.map(|id| SessionRequest { id, timeout_s: session.1, must_exist: session.2 });
        if request.query_id.is_empty() {
            request.query_id = uuid::Uuid::new_v4().to_string();
        }
        Ok(request)
    }

    /// Adds the fields of a multipart body: they mean what URL parameters of their names mean.
    pub(crate) fn add_fields(&mut self, fields: Vec<(String, String)>) -> Result<(), QueryError> {
        for (name, value) in fields {
            match name.strip_prefix("param_") {
                Some(parameter) => self.params.push((parameter.to_owned(), value)),
                None if name == "query" => self.query = Some(value),
                None => return Err(QueryError::bad_arguments(format!("Unknown field '{name}' in a multipart body."))),
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        name: String,
        value: String,
        session: &mut (Option<String>, u64, bool),
    ) -> Result<(), QueryError> {
        if let Some(parameter) = name.strip_prefix("param_") {
            self.params.push((parameter.to_owned(), value));
            return Ok(());
        }
        match name.as_str() {
            "query" => self.query = Some(value),
            "query_id" => self.query_id = identity(&name, value)?,
            "database" => self.database = Some(value),
            "default_format" => self.format = Some(value),
            "password" => self.access_key = Some(value),
            "session_id" => session.0 = Some(identity(&name, value)?),
            "session_timeout" => {
                let seconds = value.parse().ok().filter(|s| (1..=MAX_SESSION_TIMEOUT_S).contains(s));
                session.1 =
                    seconds.ok_or_else(|| QueryError::bad_arguments(format!("Invalid session_timeout '{value}'.")))?;
            }
            "session_check" => session.2 = flag(&name, &value)?,
            "log_comment" => self.log_comment = Some(value),
            "wait_end_of_query" => self.wait_end = flag(&name, &value)?,
            "decompress" => self.native_body = flag(&name, &value)?,
            "compress" => self.native_result = flag(&name, &value)?,
            // A setting of the engine, but it is this server that acts on it.
            "enable_http_compression" if !flag(&name, &value)? => self.result_encoding = Encoding::Identity,
            // These steer what is fixed here: no users, no roles, no quotas, buffers by configuration, Native revision 0.
            "enable_http_compression"
            | "user"
            | "quota_key"
            | "buffer_size"
            | "client_protocol_version"
            | "stacktrace"
            | "close_session" => {}
            "role" => return Err(QueryError::not_implemented("There are no roles here.")),
            _ => self.settings.push((name, value)),
        }
        Ok(())
    }
}

/// Ids travel in headers and in the engine's arguments.
fn identity(name: &str, value: String) -> Result<String, QueryError> {
    if value.len() > MAX_ID_BYTES || value.chars().any(char::is_control) {
        return Err(QueryError::bad_arguments(format!(
            "Invalid {name}: at most {MAX_ID_BYTES} bytes, no control characters."
        )));
    }
    Ok(value)
}

fn flag(name: &str, value: &str) -> Result<bool, QueryError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" | "" => Ok(false),
        _ => Err(QueryError::bad_arguments(format!("{name} must be 0 or 1, not '{value}'."))),
    }
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn basic_password(headers: &HeaderMap) -> Option<String> {
    use base64::Engine;
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    Some(String::from_utf8(decoded).ok()?.split_once(':')?.1.to_owned())
}

/// `a=b&c=d` with percent escapes and `+` for a space.
fn parse_query(query: &str) -> Result<Vec<(String, String)>, QueryError> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((unescape(name)?, unescape(value)?))
        })
        .collect()
}

fn unescape(text: &str) -> Result<String, QueryError> {
    let bad = || QueryError::bad_arguments(format!("Malformed URL parameter '{text}'."));
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(bad);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| bad())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Result<QueryRequest, QueryError> {
        let mut builder = http::Request::post(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        QueryRequest::new(&builder.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn parameters_settings_and_headers_are_told_apart() {
        let uri =
            "/?query=SELECT+%7Ba%3AString%7D&param_a=x%2By&max_threads=2&database=db&query_id=q&decompress=1&user=u";
        let parsed = request(uri, &[("x-clickhouse-format", "JSON"), ("accept-encoding", "lz4")]).unwrap();
        assert_eq!(parsed.query.as_deref(), Some("SELECT {a:String}"));
        assert_eq!(parsed.params, [("a".into(), "x+y".into())]);
        assert_eq!(parsed.settings, [("max_threads".into(), "2".into())]);
        assert_eq!((parsed.database.as_deref(), parsed.format.as_deref()), (Some("db"), Some("JSON")));
        assert_eq!((parsed.query_id.as_str(), parsed.native_body, parsed.native_result), ("q", true, false));
        assert_eq!(parsed.result_encoding, Encoding::Lz4);
    }

    #[test]
    fn a_query_id_is_given_where_none_is() {
        assert_eq!(request("/", &[]).unwrap().query_id.len(), 36);
    }

    #[test]
    fn keys_come_by_every_way_clients_send_them() {
        for (uri, headers) in [
            ("/?password=k", vec![]),
            ("/", vec![("x-clickhouse-key", "k")]),
            ("/", vec![("authorization", "Basic dTpr")]),
        ] {
            assert_eq!(request(uri, &headers).unwrap().access_key.as_deref(), Some("k"), "{uri} {headers:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for uri in
            ["/?query=%", "/?query=%zz", "/?query=%ff", "/?compress=maybe", "/?query_id=%00", "/?session_timeout=0"]
        {
            assert_eq!(request(uri, &[]).unwrap_err().code, 36, "{uri}");
        }
    }
}
