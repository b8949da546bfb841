//! From what arrives to errors. Nothing that a peer may send makes this panic.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::pb::{self, BadRequest, ErrorInfo, RetryInfo};

use crate::error::{CallStatus, Error};
use crate::v1::{CompleteFailure, ErrorReason, RouteError};

const DOMAIN: &str = "turnout.v1";
const REASON_PREFIX: &str = "ERROR_REASON_";

/// The status code of a failed call.
///
/// Where the call failed on its way, tonic's own code is UNKNOWN or depends on what features the program is built with.
/// gRPC's is UNAVAILABLE, unless the peer reset the stream with a meaning.
pub(crate) fn code_of(status: &Status) -> Code {
    let mut cause = status.source();
    if cause.is_none() {
        return status.code();
    }
    while let Some(error) = cause {
        if let Some(status) = error.downcast_ref::<Status>() {
            return status.code();
        }
        if error.is::<TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return code_of_reset(error);
        }
        cause = error.source();
    }
    Code::Unavailable
}

/// As gRPC's protocol maps the errors of HTTP/2.
fn code_of_reset(error: &h2::Error) -> Code {
    match error.reason() {
        Some(reason) if error.is_reset() => match reason {
            h2::Reason::REFUSED_STREAM => Code::Unavailable,
            h2::Reason::CANCEL => Code::Cancelled,
            h2::Reason::ENHANCE_YOUR_CALM => Code::ResourceExhausted,
            h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
            _ => Code::Internal,
        },
        _ => Code::Unavailable,
    }
}

/// The error of a failed call: by the details of its status, else by code and message alone.
pub(crate) fn decode_error(status: &Status) -> Error {
    let mut call = CallStatus::new(code_of(status), status.message());
    if let Some(cause) = root_cause(status) {
        call.message = format!("{}: {cause}", call.message);
    }
    let details = pb::Status::decode(status.details()).unwrap_or_default().details;
    for detail in details {
        let bytes = detail.value.as_slice();
        match detail.type_url.rsplit('/').next() {
            Some("google.rpc.ErrorInfo") => {
                // Another domain's reasons are not ours, whatever their names.
                let info = ErrorInfo::decode(bytes).ok().filter(|info| info.domain == DOMAIN);
                if let Some(info) = info {
                    call.reason = info.reason;
                    call.metadata.extend(info.metadata);
                }
            }
            Some("google.rpc.BadRequest") => {
                let violations = BadRequest::decode(bytes).unwrap_or_default().field_violations;
                if let Some(first) = violations.into_iter().next() {
                    call.metadata.entry("field".to_owned()).or_insert(first.field);
                }
            }
            Some("google.rpc.RetryInfo") => {
                let delay = RetryInfo::decode(bytes).ok().and_then(|info| info.retry_delay);
                call.retry_after = delay.and_then(|delay| Duration::try_from(delay).ok());
            }
            Some("turnout.v1.CompleteFailure") => call.failure = CompleteFailure::decode(bytes).ok(),
            _ => (),
        }
    }
    if call.reason.is_empty() { decode_too_large(call) } else { classify(call) }
}

/// The error of one item of a batch or stream.
pub(crate) fn decode_item_error(item: RouteError) -> Error {
    let mut call = CallStatus::new(Code::from_i32(item.code), item.message);
    call.reason = match ErrorReason::try_from(item.reason) {
        Ok(ErrorReason::Unspecified) => String::new(),
        Ok(known) => known.as_str_name().trim_start_matches(REASON_PREFIX).to_owned(),
        // A newer server's reason, of which an item has the number only.
        Err(_) => format!("UNKNOWN_{}", item.reason),
    };
    if !item.field.is_empty() {
        call.metadata.insert("field".to_owned(), item.field);
    }
    classify(call)
}

/// What a message gets that is larger than can be sent.
pub(crate) fn too_large(bytes: usize, limit_bytes: usize) -> Error {
    let message = format!("the message: {bytes} bytes breaks the limit: {limit_bytes} bytes");
    let mut call = CallStatus::new(Code::ResourceExhausted, message);
    call.metadata.insert("value".to_owned(), format!("{bytes} bytes"));
    call.metadata.insert("limit".to_owned(), format!("{limit_bytes} bytes"));
    invalid_request(call)
}

/// By the reason where that has a variant, else by the code, so new reasons break nothing.
pub(crate) fn classify(call: CallStatus) -> Error {
    let known = |key: &str| call.metadata.get(key).cloned().unwrap_or_default();
    let retry_after = call.retry_after;
    if call.reason == "NO_CANDIDATE" {
        return Error::NoCandidate { constraint: known("constraint"), status: Box::new(call) };
    }
    match call.code {
        Code::InvalidArgument => invalid_request(call),
        Code::ResourceExhausted => Error::Overloaded { retry_after, status: Box::new(call) },
        Code::Unavailable => {
            let causes = read_causes(&call.metadata);
            Error::Unavailable { retry_after, causes, status: Box::new(call) }
        }
        Code::DeadlineExceeded => Error::DeadlineExceeded { status: Box::new(call) },
        Code::Cancelled => Error::Cancelled { status: Box::new(call) },
        Code::Unauthenticated | Code::PermissionDenied => Error::AccessDenied { status: Box::new(call) },
        Code::Internal | Code::Unknown | Code::DataLoss => {
            Error::Internal { incident: known("incident"), status: Box::new(call) }
        }
        _ => Error::Other { status: Box::new(call) },
    }
}

fn invalid_request(call: CallStatus) -> Error {
    let known = |key: &str| call.metadata.get(key).cloned().unwrap_or_default();
    let (field, value, limit) = (known("field"), known("value"), known("limit"));
    Error::InvalidRequest { field, value, limit, status: Box::new(call) }
}

/// `cause` of a cut answer, or `causes`, such as "rate_limited=2, connection=1".
fn read_causes(metadata: &BTreeMap<String, String>) -> BTreeMap<String, u32> {
    let one = metadata.get("cause").map(|cause| (cause.clone(), 1));
    let listed = metadata.get("causes").map_or("", String::as_str).split(", ");
    let many = listed.filter_map(|item| {
        let (name, count) = item.split_once('=')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    one.into_iter().chain(many).collect()
}

/// The words of gRPC, and its only sign, for a message beyond a limit of one of both sides.
fn decode_too_large(mut call: CallStatus) -> Error {
    if call.code == Code::OutOfRange && call.message.starts_with("Error, decoded message length too large") {
        // gRPC's code for a response beyond the limit; no load, and no fault of the request's.
        call.code = Code::ResourceExhausted;
        return Error::Other { status: Box::new(call) };
    }
    if call.code != Code::ResourceExhausted || !call.message.contains("larger than max") {
        return classify(call);
    }
    let sizes = call.message.split_once("SERVER: Received message larger than max (").and_then(|(_, rest)| {
        let (value, limit) = rest.split_once(')')?.0.split_once(" vs. ")?;
        Some((value.parse().ok()?, limit.parse().ok()?))
    });
    match sizes {
        Some((value, limit)) => too_large(value, limit),
        None => Error::Other { status: Box::new(call) },
    }
}

fn root_cause(status: &Status) -> Option<String> {
    let mut cause = status.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string()).filter(|text| !status.message().contains(text))
}
