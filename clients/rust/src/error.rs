//! What a call can fail with: one variant for each thing that a caller would do differently.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tonic::Code;

use crate::v1::CompleteFailure;

/// A request got no answer. It never holds the caller's text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The request breaks the contract: asking again does not help, and `route_or` gives it too. INVALID_ARGUMENT, or a
    /// message that is too large to be sent.
    #[non_exhaustive]
    InvalidRequest {
        /// The field at fault, such as "constraints.min_tier"; empty if none is.
        field: String,
        /// What was given, shortened; empty where it is the caller's text.
        value: String,
        /// What is allowed; empty where there is no such thing.
        limit: String,
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// The constraints leave no deployment that could serve (FAILED_PRECONDITION).
    #[non_exhaustive]
    NoCandidate {
        /// The one that removed the last candidate; empty where the service does not say.
        constraint: String,
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// The service, a budget, or something before it, is at its limit (RESOURCE_EXHAUSTED).
    #[non_exhaustive]
    Overloaded {
        /// When the service asks to come back; None where it does not say.
        retry_after: Option<Duration>,
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// The service cannot be reached or no upstream answered (UNAVAILABLE), after the retries.
    #[non_exhaustive]
    Unavailable {
        /// When the service asks to come back; None where it does not say.
        retry_after: Option<Duration>,
        /// Why no upstream answered: how many attempts ended so or deployments were closed for it, by the name of a
        /// FaultKind in lower case. Empty where the service does not say.
        causes: BTreeMap<String, u32>,
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// The deadline passed before there was an answer (DEADLINE_EXCEEDED).
    #[non_exhaustive]
    DeadlineExceeded {
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// The call was cancelled (CANCELLED), by `Client::close` or by the service.
    #[non_exhaustive]
    Cancelled {
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// Credentials lack or do not suffice (UNAUTHENTICATED, PERMISSION_DENIED).
    #[non_exhaustive]
    AccessDenied {
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// A defect of the service (INTERNAL, UNKNOWN, DATA_LOSS).
    #[non_exhaustive]
    Internal {
        /// The name under which the cause is in the service's log; empty where it gives none.
        incident: String,
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// Any other status code.
    #[non_exhaustive]
    Other {
        /// All that is known.
        status: Box<CallStatus>,
    },
    /// The client was used after `close`. A defect of the caller: `route_or` gives it too.
    Closed,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CallStatus {
    /// gRPC's status code.
    pub code: Code,
    /// The service's reason: the name of a `v1::ErrorReason` without its prefix, or a newer service's own. Empty where the
    /// error came from gRPC or a proxy.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The reason's, as turnout/v1/error_reason.proto lists it.
    pub metadata: BTreeMap<String, String>,
    /// When the service asks to come back; None where it does not say.
    pub retry_after: Option<Duration>,
    /// What was done for a completion that failed; None where nothing was asked upstream.
    pub failure: Option<CompleteFailure>,
}

impl CallStatus {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: String::new(),
            message: message.into(),
            metadata: BTreeMap::new(),
            retry_after: None,
            failure: None,
        }
    }

    /// The code's name in the standard's spelling, such as UNAVAILABLE.
    pub fn code_name(&self) -> &'static str {
        match self.code {
            Code::Ok => "OK",
            Code::Cancelled => "CANCELLED",
            Code::Unknown => "UNKNOWN",
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::NotFound => "NOT_FOUND",
            Code::AlreadyExists => "ALREADY_EXISTS",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Code::FailedPrecondition => "FAILED_PRECONDITION",
            Code::Aborted => "ABORTED",
            Code::OutOfRange => "OUT_OF_RANGE",
            Code::Unimplemented => "UNIMPLEMENTED",
            Code::Internal => "INTERNAL",
            Code::Unavailable => "UNAVAILABLE",
            Code::DataLoss => "DATA_LOSS",
            Code::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl Error {
    /// How the call ended; None where there was no call, because the client is closed.
    pub fn status(&self) -> Option<&CallStatus> {
        match self {
            Self::InvalidRequest { status, .. }
            | Self::NoCandidate { status, .. }
            | Self::Overloaded { status, .. }
            | Self::Unavailable { status, .. }
            | Self::DeadlineExceeded { status }
            | Self::Cancelled { status }
            | Self::AccessDenied { status }
            | Self::Internal { status, .. }
            | Self::Other { status } => Some(status),
            Self::Closed => None,
        }
    }

    /// A name to count by: the reason, or the status code's name, such as UNAVAILABLE, where there is none.
    pub fn label(&self) -> &str {
        match self.status() {
            Some(status) if status.reason.is_empty() => status.code_name(),
            Some(status) => &status.reason,
            None => "CLOSED",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(status) = self.status() else {
            return out.write_str("the client is closed");
        };
        out.write_str(status.code_name())?;
        if !status.reason.is_empty() {
            write!(out, " ({})", status.reason)?;
        }
        if !status.message.is_empty() {
            write!(out, ": {}", status.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
