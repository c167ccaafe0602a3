use std::time::Duration;

use model::ErrorCode;

/// What the warehouse can't do. The texts are the server's own and may hold statements and data: they are for the
/// log, never for a caller. The conversion to [`model::Error`] leaves them out.
#[derive(Debug, thiserror::Error)]
pub enum WarehouseError {
    /// The address or the database's name can't be used.
    #[error("the warehouse's address: {0}")]
    Address(String),
    /// It can't be reached or is too busy. Whether an insert was done is unknown: send it again under its token.
    #[error("the warehouse can't be used now: {0}")]
    Unavailable(String),
    /// The query ran longer than it may.
    #[error("the query took too long: {0}")]
    Timeout(String),
    /// The query needs more memory than it may use.
    #[error("the query needs too much memory: {0}")]
    Memory(String),
    /// The query reads or returns more than it may.
    #[error("the query is too large: {0}")]
    TooLarge(String),
    /// The query was stopped from outside.
    #[error("the query was stopped: {0}")]
    Cancelled(String),
    /// The server refuses the statement.
    #[error("the warehouse refuses the statement, code {code}: {message}")]
    Rejected {
        /// ClickHouse's number of the error.
        code: u32,
        /// What it says.
        message: String,
    },
    /// A cluster isn't what it is said to be, or it can't do this.
    #[error("the warehouse's cluster: {0}")]
    Cluster(String),
    /// The answer isn't what the protocol promises, or the request isn't one that can be sent: a defect.
    #[error("the warehouse and this program don't understand one another: {0}")]
    Protocol(String),
}

impl WarehouseError {
    /// Whether the same request can succeed later.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// What an answer of the server says that isn't a result: `Code: 159. DB::Exception: ...`, or the words of
    /// something between that speaks HTTP only.
    fn from_answer(text: String) -> Self {
        let code = text.strip_prefix("Code: ").map(|rest| rest.trim_start_matches(|c: char| !c.is_ascii_digit()));
        let code = code.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
        match code.and_then(|digits| digits.parse().ok()) {
            Some(code) => Self::from_code(code, text),
            None if text.starts_with(['4', '2', '3']) => Self::Protocol(text),
            None => Self::Unavailable(text),
        }
    }

    /// See ClickHouse's ErrorCodes.cpp for the numbers.
    fn from_code(code: u32, message: String) -> Self {
        match code {
            // TIMEOUT_EXCEEDED, TOO_SLOW
            159 | 160 => Self::Timeout(message),
            // CANNOT_ALLOCATE_MEMORY, MEMORY_LIMIT_EXCEEDED
            173 | 241 => Self::Memory(message),
            // TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES
            158 | 307 | 396 => Self::TooLarge(message),
            // QUERY_WAS_CANCELLED, QUERY_WAS_CANCELLED_BY_CLIENT
            394 | 735 => Self::Cancelled(message),
            // TOO_MANY_SIMULTANEOUS_QUERIES, NO_FREE_CONNECTION, SOCKET_TIMEOUT, NETWORK_ERROR, NO_ZOOKEEPER, ABORTED,
            // TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, TOO_MANY_PARTS, ALL_CONNECTION_TRIES_FAILED,
            // TOO_FEW_LIVE_REPLICAS, UNSATISFIED_QUORUM, UNKNOWN_STATUS_OF_INSERT, UNFINISHED (a deletion, while a replica is down), ALL_REPLICAS_ARE_STALE, CANNOT_SCHEDULE_TASK, SERVER_OVERLOADED,
            // S3_ERROR (the bucket of old events), KEEPER_EXCEPTION
            202 | 203 | 209 | 210 | 225 | 236 | 242 | 243 | 252 | 279 | 285 | 286 | 319 | 341 | 369 | 439 | 499
            | 745 | 999 => Self::Unavailable(message),
            // ATTEMPT_TO_READ_AFTER_EOF, of a shard that died
            32 if message.contains("receiving packet") => Self::Unavailable(message),
            // STD_EXCEPTION: what a thread that reads ahead has met
            1001 if message.contains("Code: 499.") => Self::Unavailable(message),
            _ => Self::Rejected { code, message },
        }
    }
}

impl From<clickhouse::error::Error> for WarehouseError {
    fn from(error: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error;
        match error {
            Error::BadResponse(text) => Self::from_answer(text),
            Error::Network(_) | Error::TimedOut => Self::Unavailable(chain(&error)),
            Error::Unsupported(_) => Self::Address(error.to_string()),
            error => Self::Protocol(chain(&error)),
        }
    }
}

/// The error with its causes: "connection refused" stands only in the last.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

impl From<WarehouseError> for model::Error {
    fn from(error: WarehouseError) -> Self {
        const RETRY: Duration = Duration::from_secs(1);
        match error {
            WarehouseError::Unavailable(_) => Self::unavailable("the warehouse can't be reached now", RETRY),
            WarehouseError::Cancelled(_) => Self::unavailable("the query was stopped", RETRY),
            WarehouseError::Timeout(_) => Self::new(
                ErrorCode::DeadlineExceeded,
                "the query took longer than it may; ask for less or a shorter range",
            ),
            WarehouseError::Memory(_) => Self::new(
                ErrorCode::ResourceExhausted,
                "the query needs more memory than it may use; ask for fewer groups or a shorter range",
            ),
            WarehouseError::TooLarge(_) => Self::new(
                ErrorCode::ResourceExhausted,
                "the query reads or returns more than it may; ask for less or a shorter range",
            ),
            WarehouseError::Address(_)
            | WarehouseError::Rejected { .. }
            | WarehouseError::Cluster(_)
            | WarehouseError::Protocol(_) => Self::internal("the warehouse could not run the query"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(answer: &str) -> WarehouseError {
        clickhouse::error::Error::BadResponse(answer.to_owned()).into()
    }

    #[test]
    fn answers_are_sorted_by_code() {
        assert!(matches!(read("Code: 159. DB::Exception: Timeout exceeded: elapsed 1 s"), WarehouseError::Timeout(_)));
        assert!(matches!(read("Code: 241. DB::Exception: Memory limit"), WarehouseError::Memory(_)));
        assert!(matches!(read("Code: 241"), WarehouseError::Memory(_)));
        assert!(matches!(read("Code: 158. DB::Exception"), WarehouseError::TooLarge(_)));
        assert!(matches!(read("Code: 394. DB::Exception"), WarehouseError::Cancelled(_)));
        for code in [202, 209, 210, 236, 242, 745] {
            assert!(read(&format!("Code: {code}. DB::Exception: busy")).is_unavailable(), "{code}");
        }
        assert!(
            read("Code: 1001. DB::Exception: Code: 499. DB::Exception: This error happened for S3 disk")
                .is_unavailable()
        );
        assert!(matches!(read("Code: 1001. DB::Exception: bad"), WarehouseError::Rejected { code: 1001, .. }));
        assert!(matches!(read("Code: 62. DB::Exception: Syntax error"), WarehouseError::Rejected { code: 62, .. }));
        assert!(read("503 Service Unavailable").is_unavailable());
        assert!(read("upstream connect error").is_unavailable());
        assert!(matches!(read("404 Not Found"), WarehouseError::Protocol(_)));
    }

    #[test]
    fn a_caller_learns_nothing_of_statements_and_data() {
        let secret = "Code: 62. DB::Exception: SELECT * FROM events WHERE tenant = 'rival'";
        for code in [62, 159, 241, 158, 394, 202] {
            let error: model::Error = read(&secret.replace("62", &code.to_string())).into();
            assert!(!error.message.contains("rival") && !error.message.contains("SELECT"), "{error}");
        }
        let address: model::Error = WarehouseError::Address("http://u:rival@host".into()).into();
        assert!(!address.message.contains("rival"));
    }
}
