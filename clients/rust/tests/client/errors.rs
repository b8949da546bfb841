//! Errors, by what a service sends.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};
use turnout::Error;
use turnout::v1::CompleteFailure;

use crate::fake::serve;

/// What a call gives where the service fails so.
async fn failing(status: Status) -> Error {
    let (code, message, details) = (status.code(), status.message().to_owned(), status.details().to_vec());
    let fake = serve(move |_| {
        let status = Status::with_details(code, message.clone(), details.clone().into());
        std::future::ready(Err(status))
    })
    .await;
    fake.client().complete("a").await.unwrap_err()
}

fn status(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
    Status::with_error_details(code, "for people", info(reason, metadata))
}

fn info(reason: &str, metadata: &[(&str, &str)]) -> ErrorDetails {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let metadata: HashMap<_, _> = metadata.iter().map(owned).collect();
    ErrorDetails::with_error_info(reason, "turnout.v1", metadata)
}

#[tokio::test]
async fn an_invalid_request_names_the_field() {
    let metadata = [("field", "messages[3].role"), ("value", "9"), ("limit", "0 to 5")];
    let error = failing(status(Code::InvalidArgument, "INVALID_FIELD", &metadata)).await;
    assert_eq!(error.to_string(), "INVALID_ARGUMENT (INVALID_FIELD): for people");
    let Error::InvalidRequest { field, value, limit, .. } = error else { panic!("{error}") };
    assert_eq!([field, value, limit], ["messages[3].role", "9", "0 to 5"]);
}

#[tokio::test]
async fn the_field_of_a_bad_request_alone() {
    let mut details = ErrorDetails::with_bad_request_violation("policy", "for people");
    details.add_bad_request_violation("prompt", "for people");
    let error = failing(Status::with_error_details(Code::InvalidArgument, "for people", details)).await;
    let Error::InvalidRequest { field, .. } = error else { panic!("{error}") };
    assert_eq!(field, "policy");
}

#[tokio::test]
async fn overload_says_when_to_come_back() {
    let mut details = info("OVERLOADED", &[]);
    details.set_retry_info(Some(Duration::from_millis(1_500)));
    let error = failing(Status::with_error_details(Code::ResourceExhausted, "for people", details)).await;
    let Error::Overloaded { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Some(Duration::from_millis(1_500)));
}

#[tokio::test]
async fn unavailability_has_causes_and_what_was_done() {
    let metadata = [("causes", "rate_limited=2, connection=1, of a future kind")];
    let told = status(Code::Unavailable, "UPSTREAM_UNAVAILABLE", &metadata);
    let failure = CompleteFailure { tier: "mid".into(), ..CompleteFailure::default() };
    let mut details = pb::Status::decode(told.details()).unwrap();
    let mut packed = details.details[0].clone();
    packed.type_url = "type.googleapis.com/turnout.v1.CompleteFailure".into();
    packed.value = failure.encode_to_vec();
    details.details.push(packed);
    let told = Status::with_details(told.code(), "for people", details.encode_to_vec().into());
    let error = failing(told).await;
    let Error::Unavailable { causes, status, .. } = error else { panic!("{error}") };
    assert_eq!(causes, [("connection".to_owned(), 1), ("rate_limited".to_owned(), 2)].into());
    assert_eq!(status.failure, Some(failure));
}

#[tokio::test]
async fn a_cut_answer_has_one_cause() {
    let error = failing(status(Code::Unavailable, "STREAM_CUT", &[("cause", "cut")])).await;
    let Error::Unavailable { causes, .. } = error else { panic!("{error}") };
    assert_eq!(causes, [("cut".to_owned(), 1)].into());
}

#[tokio::test]
async fn other_variants_by_reason_and_code() {
    let error = failing(status(Code::FailedPrecondition, "NO_CANDIDATE", &[("constraint", "region")])).await;
    let Error::NoCandidate { constraint, .. } = error else { panic!("{error}") };
    assert_eq!(constraint, "region");
    let error = failing(status(Code::Internal, "INTERNAL", &[("incident", "a1b2")])).await;
    let Error::Internal { incident, .. } = error else { panic!("{error}") };
    assert_eq!(incident, "a1b2");
    let error = failing(status(Code::FailedPrecondition, "FROM_THE_FUTURE", &[])).await;
    assert_eq!((matches!(error, Error::Other { .. }), error.label()), (true, "FROM_THE_FUTURE"));
    let foreign = ErrorDetails::with_error_info("UNKNOWN_TIER", "example.com", HashMap::new());
    let error = failing(Status::with_error_details(Code::Aborted, "for people", foreign)).await;
    assert_eq!((matches!(error, Error::Other { .. }), error.label()), (true, "ABORTED"));
    let garbled = Status::with_details(Code::PermissionDenied, "for people", vec![0xff; 3].into());
    let error = failing(garbled).await;
    assert_eq!((matches!(error, Error::AccessDenied { .. }), error.label()), (true, "PERMISSION_DENIED"));
}

#[tokio::test]
async fn a_server_with_a_smaller_limit_blames_the_request() {
    let words = "SERVER: Received message larger than max (17825806 vs. 16777216)";
    let error = failing(Status::resource_exhausted(words)).await;
    let Error::InvalidRequest { value, limit, .. } = error else { panic!("{error}") };
    assert_eq!([value, limit], ["17825806 bytes", "16777216 bytes"]);
    let error = failing(Status::resource_exhausted("Received message larger than max")).await;
    assert!(matches!(error, Error::Other { .. }), "{error}");
}
