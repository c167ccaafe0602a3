//! Errors as ClickHouse's HTTP clients know them: a numeric code, its name, a text, and the HTTP status of the code.

use http::StatusCode;

/// A failed statement, in ClickHouse's terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Code: {code}. DB::Exception: {message} ({name})")]
pub struct QueryError {
    /// ClickHouse's numeric error code.
    pub code: u32,
    /// The code's name, such as `UNKNOWN_TABLE`.
    pub name: String,
    /// What went wrong, without prefix, name or version.
    pub message: String,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $constructor:ident = $code:literal $name:literal;)*) => {
        $($(#[$doc])* pub(crate) fn $constructor(message: impl Into<String>) -> Self {
            Self { code: $code, name: $name.into(), message: message.into() }
        })*
    };
}

impl QueryError {
    codes! {
        bad_arguments = 36 "BAD_ARGUMENTS";
        not_implemented = 48 "NOT_IMPLEMENTED";
        syntax = 62 "SYNTAX_ERROR";
        too_large = 189 "QUERY_IS_TOO_LARGE";
        unknown_format = 73 "UNKNOWN_FORMAT";
        readonly = 164 "READONLY";
        too_many_queries = 202 "TOO_MANY_SIMULTANEOUS_QUERIES";
        socket_timeout = 209 "SOCKET_TIMEOUT";
        network = 210 "NETWORK_ERROR";
        same_id = 216 "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING";
        decompress = 271 "CANNOT_DECOMPRESS";
        unknown_compression = 89 "UNKNOWN_COMPRESSION_METHOD";
        unknown_setting = 115 "UNKNOWN_SETTING";
        session_not_found = 372 "SESSION_NOT_FOUND";
        session_locked = 373 "SESSION_IS_LOCKED";
        setting_constraint = 452 "SETTING_CONSTRAINT_VIOLATION";
        access_denied = 497 "ACCESS_DENIED";
        authentication = 516 "AUTHENTICATION_FAILED";
        shutting_down = 394 "QUERY_WAS_CANCELLED";
        internal = 1001 "STD_EXCEPTION";
    }

    /// Reads the engine's message, `Code: N. DB::Exception: text (NAME) (version ...)`. Text of another shape becomes
    /// `STD_EXCEPTION` with the whole text as its message.
    pub(crate) fn parse(text: &str) -> Self {
        Self::parse_parts(text).unwrap_or_else(|| Self::internal(text.trim_end()))
    }

    fn parse_parts(text: &str) -> Option<Self> {
        let (code, rest) = text.trim_end().strip_prefix("Code: ")?.split_once(". DB::Exception: ")?;
        let rest = match rest.rfind(" (version ") {
            Some(at) if rest.ends_with(')') => &rest[..at],
            _ => rest,
        };
        let (message, name) = rest.strip_suffix(')')?.rsplit_once(" (")?;
        let known = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        known.then_some(())?;
        Some(Self { code: code.parse().ok()?, name: name.into(), message: message.into() })
    }

    /// The body text that clients parse.
    pub(crate) fn body(&self, version: &str) -> String {
        format!("{self} (version {version})\n")
    }

    /// The HTTP status that ClickHouse gives this code (`exceptionCodeToHTTPStatus.cpp`), except that a full server is
    /// 503, which says "retry" to every HTTP client where ClickHouse says 500.
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            6 | 8 | 15 | 16 | 25 | 26 | 27 | 36 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 167 | 168 | 223 | 224 | 321
            | 376 | 427 | 441 | 675 | 676 => StatusCode::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 106 | 115 | 336 | 511 => StatusCode::NOT_FOUND,
            189 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 202 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn engine_messages_are_taken_apart() {
        let parsed =
            QueryError::parse("Code: 60. DB::Exception: Unknown table 'a' (x). (UNKNOWN_TABLE) (version 26.7.2.1)");
        assert_eq!(
            parsed,
            QueryError { code: 60, name: "UNKNOWN_TABLE".into(), message: "Unknown table 'a' (x).".into() }
        );
        assert_eq!(parsed.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            parsed.body("26.7.2.1"),
            "Code: 60. DB::Exception: Unknown table 'a' (x). (UNKNOWN_TABLE) (version 26.7.2.1)\n"
        );
        assert_eq!(QueryError::parse("Code: 62. DB::Exception: bad (SYNTAX_ERROR)").code, 62);
    }

    #[test]
    fn a_text_of_another_shape_keeps_its_words() {
        for text in ["boom", "Code: x. DB::Exception: y (Z)", "Code: 1. DB::Exception: no name", ""] {
            let parsed = QueryError::parse(text);
            assert_eq!((parsed.code, parsed.message.as_str()), (1001, text));
        }
    }
}
