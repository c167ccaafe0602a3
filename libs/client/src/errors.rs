//! What can fail, and what the server says of it.

use std::{error::Error as StdError, fmt, io, iter, sync::Arc, time::Duration};

use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

const DOMAIN: &str = "penstock";

/// Why something failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A call failed: the server refused it, or could not be reached.
    #[error("{0}")]
    Call(Box<Failure>),
    /// The queue has no room: wait ([`Client::track`](crate::Client::track) does), or give it more
    /// ([`Builder::queue_bytes`](crate::Builder::queue_bytes)).
    #[error("the queue is full")]
    QueueFull,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// Something that can't be sent or asked: it says what, and what would be right.
    #[error("{0}")]
    Invalid(String),
    /// The queue on disk can't be read or written.
    #[error("the queue on disk: {0}")]
    Disk(Arc<io::Error>),
    /// A row is not what it was to be read as.
    #[error("{0}")]
    Row(String),
}

/// A call that failed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure {
    /// The gRPC code.
    pub code: Code,
    /// What went wrong, for people.
    pub message: String,
    /// What went wrong, as a stable name such as `INVALID_QUERY`; empty where no server said it.
    pub reason: String,
    /// The fields at fault.
    pub violations: Vec<Violation>,
    /// The time after which a retry can succeed, if the server said so.
    pub retry_after: Option<Duration>,
    /// Where in a query's text the fault is, in bytes: start and end.
    pub position: Option<(usize, usize)>,
}

/// A field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Its path, as in `query.measures[0].formula`.
    pub field: String,
    /// The rule that it breaks, as in `SYNTAX`.
    pub reason: String,
    /// What is wrong and what would be right.
    pub description: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)?;
        self.violations.iter().try_for_each(|v| write!(f, "\n  {}: {}", v.field, v.description))
    }
}

impl Error {
    /// The failed call's gRPC code; `None` where it isn't a call that failed.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.failure().map(|failure| failure.code)
    }

    /// What is known of the failed call.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Call(failure) => Some(failure),
            _ => None,
        }
    }

    /// The fields at fault.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.failure().map_or(&[], |failure| &failure.violations)
    }

    /// The time after which a retry can succeed, if the server said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.failure().and_then(|failure| failure.retry_after)
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Call(failure) => match failure.code {
                Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded => true,
                // What the transport breaks, it calls by many names; what Penstock says has a reason.
                Code::Internal | Code::Unknown | Code::Cancelled | Code::Aborted => failure.reason.is_empty(),
                _ => false,
            },
            Self::QueueFull | Self::Disk(_) => true,
            Self::Closed | Self::Invalid(_) | Self::Row(_) => false,
        }
    }

    pub(crate) fn local(code: Code, message: impl Into<String>) -> Self {
        Self::from(Status::new(code, message))
    }

    pub(crate) fn broke_off(what: &str) -> Self {
        Self::local(Code::Unavailable, format!("{what} broke off"))
    }

    pub(crate) fn late() -> Self {
        Self::local(Code::DeadlineExceeded, "it took longer than its deadline")
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Disk(Arc::new(error))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        // A call whose own time is over tonic calls cancelled.
        if iter::successors(status.source(), |&error| error.source()).any(|error| error.is::<TimeoutExpired>()) {
            return Self::late();
        }
        let details = status.get_error_details();
        let info = details.error_info().filter(|info| info.domain == DOMAIN);
        let place = |text: &String| {
            let (start, end) = text.split_once('-')?;
            Some((start.parse().ok()?, end.parse().ok()?))
        };
        let violations = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        let broken = violations.iter().map(|v| Violation {
            field: v.field.clone(),
            reason: v.reason.clone(),
            description: v.description.clone(),
        });
        Self::Call(Box::new(Failure {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            violations: broken.collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            position: info.and_then(|info| info.metadata.get("position")).and_then(place),
        }))
    }
}
