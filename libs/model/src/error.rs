use std::{borrow::Cow, fmt, time::Duration};

/// What went wrong, in the terms that clients program against. The `ErrorInfo.reason` on the wire is [`ErrorCode::reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request, or one event of it, breaks a rule that the violations name.
    InvalidArgument,
    /// A text in the query language can't be parsed, resolved or typed; the violations carry positions.
    InvalidQuery,
    /// No key, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// The key is known but its scope doesn't reach this app, field or method.
    PermissionDenied,
    /// The named thing doesn't exist in the scope of the key.
    NotFound,
    /// The named thing exists already.
    AlreadyExists,
    /// The thing changed since the caller read it.
    Conflict,
    /// A limit of the tenant, or of the process, is reached; retry after the given time.
    ResourceExhausted,
    /// The deadline passed before the answer was there.
    DeadlineExceeded,
    /// A part that this call needs can't be reached; retry after the given time.
    Unavailable,
    /// A defect of ours. The message says nothing of other tenants.
    Internal,
}

impl ErrorCode {
    /// The stable machine-readable name.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::InvalidQuery => "INVALID_QUERY",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// One broken rule: where, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as in `events[3].properties.price`; for texts the name of the field that holds the text.
    pub field: String,
    /// A sentence that says what is wrong and what would be right.
    pub description: String,
    /// A stable name of the rule, as in `VALUE_TOO_LONG`.
    pub reason: Cow<'static, str>,
    /// Byte range in the text of `field`, where the fault is in a query text.
    pub span: Option<(usize, usize)>,
}

/// The error that crosses crates and reaches the caller; `api` maps it to `google.rpc.Status`, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure it is.
    pub code: ErrorCode,
    /// One sentence for a person.
    pub message: String,
    /// The broken rules, where the caller can mend them.
    pub violations: Vec<Violation>,
    /// When a retry can succeed.
    pub retry_after: Option<Duration>,
    /// Which limit of the tenant is reached.
    pub limit: Option<Box<Exceeded>>,
}

/// A limit that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Whose it is, as `tenants/acme`.
    pub subject: String,
    /// Its name, as `events_per_second`.
    pub name: String,
    /// How much it allows.
    pub value: u64,
    /// Of what, as `events`.
    pub unit: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), violations: Vec::new(), retry_after: None, limit: None }
    }

    /// One broken rule of one field.
    pub fn invalid(field: impl Into<String>, reason: &'static str, description: impl Into<String>) -> Self {
        let description = description.into();
        let field = field.into();
        Self {
            code: ErrorCode::InvalidArgument,
            message: format!("{field}: {description}"),
            violations: vec![Violation { field, description, reason: reason.into(), span: None }],
            retry_after: None,
            limit: None,
        }
    }

    /// This refusal and another of the same request as one: its code and message, the broken rules of both. A request can break
    /// thousands of rules, and details travel in a header: what exceeds 32 is left out.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.violations.extend(other.violations);
        self.violations.truncate(32);
        self
    }

    /// A part is away; the caller may retry after the given time.
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::Unavailable, message) }
    }

    /// A defect of ours. The message must not carry a tenant's data.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.reason(), self.message)
    }
}

impl std::error::Error for Error {}
