//! What went wrong: what, where, and what to do next, for people and as JSON.

use std::{
    fmt::{self, Write},
    path::PathBuf,
    time::Duration,
};

use api::status::from_status;
use model::{Error, ErrorCode};
use serde::Serialize;
use tonic::Status;
use tonic_types::StatusExt;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("no key: {path}: {source}")]
    NoKey { path: PathBuf, source: std::io::Error },
    #[error("the key is not printable text")]
    BadKey,
    #[error("{0:?} is not a server's URL")]
    NoServer(String),
    #[error("can't reach {server}: {}", root(.source))]
    Connect { server: String, source: tonic::transport::Error },
    /// Nothing was heard, and this is why.
    #[error("can't reach {server}: {why}")]
    Unheard { server: String, why: String, next: String },
    #[error("{}", said(.0))]
    Refused(Box<Status>),
    /// A refusal of a text, with its fault underlined.
    #[error("{underlined}")]
    Underlined { underlined: String, status: Box<Status> },
    #[error("{0}")]
    Mistake(String),
    #[error("cancelled")]
    Cancelled,
    #[error("the answer broke off before its end; ask again")]
    NotWhole,
    #[error("the answer can't be written: {0}")]
    Write(#[from] std::io::Error),
    #[error("can't read {path}: {source}")]
    NoFile { path: PathBuf, source: std::io::Error },
    #[error("{place} {why}\nnothing behind it was sent; mend it and send the file again: what was sent counts once")]
    BadFile { place: String, why: String },
    #[error("{refused} of {of} events were refused")]
    SomeRefused { refused: u64, of: u64 },
    #[error("broke off after {answered} events: {}", said(.why))]
    BrokenOff { answered: u64, why: Box<Status> },
    #[error("{0}")]
    Profile(String, String),
    #[error("{0} of what was looked at is not well")]
    Unwell(usize),
    #[error("{what}")]
    Proven { what: String, next: String },
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// The last cause: those before it say that there was one.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn said(status: &Status) -> String {
    let error = from_status(status);
    let mut text = format!("{}: {}", error.code.reason(), error.message);
    for violation in error.violations {
        // A message may be made of its one violation.
        if !error.message.contains(&violation.description) || !error.message.contains(&violation.field) {
            let _ = write!(text, "\n  {}: {}", violation.field, violation.description); // a String takes all
        }
    }
    text
}

impl ClientError {
    pub(super) fn bad_line(line: u64, why: String) -> Self {
        Self::BadFile { place: format!("line {line}"), why }
    }

    /// Whether no service of ours was heard: each of their refusals has details.
    pub(super) fn is_unheard(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Refused(status) => status.get_error_details().error_info().is_none(),
            _ => false,
        }
    }

    /// Whether a service said no to the key's permissions, and so knows the key.
    pub(super) fn is_denied(&self) -> bool {
        self.refusal().is_some_and(|error| error.code == ErrorCode::PermissionDenied)
    }

    /// Whether what was asked for isn't there.
    pub(super) fn is_unknown(&self) -> bool {
        self.refusal().is_some_and(|error| error.code == ErrorCode::NotFound)
    }

    /// Whether what should have answered is away or broken.
    pub(super) fn is_away(&self) -> bool {
        use ErrorCode::{DeadlineExceeded, Internal, Unavailable};
        let is_broken = |error: Error| matches!(error.code, Unavailable | DeadlineExceeded | Internal);
        self.is_unheard() || self.refusal().is_some_and(is_broken)
    }

    fn refusal(&self) -> Option<Error> {
        match self {
            Self::Refused(status) | Self::Underlined { status, .. } | Self::BrokenOff { why: status, .. } => {
                Some(from_status(status))
            }
            _ => None,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoKey { .. } | Self::BadKey => "NO_KEY",
            Self::NoServer(_) | Self::Connect { .. } | Self::Unheard { .. } => "UNREACHABLE",
            Self::NotWhole => "NOT_WHOLE",
            Self::Cancelled => "CANCELLED",
            Self::Write(_) | Self::NoFile { .. } => "FILE",
            Self::BadFile { .. } => "MALFORMED",
            Self::SomeRefused { .. } => "SOME_REFUSED",
            Self::Profile(..) => "PROFILE",
            Self::Unwell(_) => "UNWELL",
            Self::Proven { .. } => "CHECK_FAILED",
            Self::Refused(_) | Self::Underlined { .. } | Self::BrokenOff { .. } | Self::Mistake(_) => "USAGE",
        }
    }

    /// What to do next.
    fn next(&self) -> String {
        let next = match self {
            Self::Unheard { next, .. } | Self::Profile(_, next) | Self::Proven { next, .. } => next,
            Self::NoKey { .. } | Self::BadKey => {
                "penstock login NAME --server URL keeps a key; or say --key-file FILE, or set PENSTOCK_KEY"
            }
            Self::BrokenOff { .. } => "send the file again: what was sent counts once",
            Self::NoServer(_) => "write it as http://HOST:PORT or https://HOST",
            Self::SomeRefused { .. } => {
                "penstock send --rejected FILE keeps what was refused, to be mended and sent again"
            }
            _ => match self.refusal().map(|error| error.code) {
                Some(ErrorCode::Unauthenticated) => {
                    "penstock doctor says which key is shown; penstock login NAME --server URL keeps another"
                }
                Some(ErrorCode::PermissionDenied) => {
                    "penstock key list says what keys may do; penstock key create makes another, with an admin's key"
                }
                Some(ErrorCode::NotFound) => "the command's list says what there is; penstock whoami, which apps",
                Some(ErrorCode::Unavailable | ErrorCode::DeadlineExceeded | ErrorCode::Internal) => {
                    "penstock doctor says what is not well"
                }
                _ => "",
            },
        };
        next.to_owned()
    }
}

/// What is wrong, as every command says it.
#[derive(Debug, Serialize)]
pub(crate) struct Complaint {
    /// A word for programs.
    code: &'static str,
    message: String,
    /// The fields at fault.
    fields: Vec<Field>,
    /// What to do; empty if nobody knows better than the message.
    next: String,
    /// In which time another try can succeed. Null: not by itself.
    retry_after_ms: Option<u64>,
    /// What people read in the place of code and message.
    #[serde(skip)]
    text: String,
}

#[derive(Debug, Serialize)]
struct Field {
    field: String,
    /// The rule, as in `VALUE_TOO_LONG`.
    rule: String,
    message: String,
    /// Bytes from the text's start, where the fault is in a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<(usize, usize)>,
}

impl Complaint {
    /// One that has nothing to say but this.
    pub(crate) fn new(code: &'static str, message: String) -> Self {
        let text = message.clone();
        Self { code, message, fields: Vec::new(), next: String::new(), retry_after_ms: None, text }
    }

    /// With what the program ends: as shells say it of what wasn't understood, and of Ctrl-C.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.code {
            "USAGE" => 2,
            "CANCELLED" => 130,
            _ => 1,
        }
    }

    /// What is wrong, and what to do.
    pub(super) fn into_parts(self) -> (String, String) {
        (self.text, self.next)
    }
}

impl From<&ClientError> for Complaint {
    fn from(error: &ClientError) -> Self {
        let (text, next) = (error.to_string(), error.next());
        let Some(refusal) = error.refusal() else {
            return Self { next, ..Self::new(error.code(), text) };
        };
        let ms = |after: Duration| u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        let field = |violation: model::Violation| Field {
            field: violation.field,
            rule: violation.reason.into_owned(),
            message: violation.description,
            span: violation.span,
        };
        // How far it came is in no refusal.
        let message = if let ClientError::BrokenOff { .. } = error { text.clone() } else { refusal.message };
        Self {
            code: refusal.code.reason(),
            message,
            fields: refusal.violations.into_iter().map(field).collect(),
            next,
            retry_after_ms: refusal.retry_after.map(ms),
            text,
        }
    }
}

/// For people.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(ms) = self.retry_after_ms {
            write!(f, "\nit can be tried again in {:.1} s", ms as f64 / 1000.0)?;
        }
        if !self.next.is_empty() {
            write!(f, "\nnext: {}", self.next)?;
        }
        Ok(())
    }
}
