//! Decisions, and what comes in their place.

use std::ops::Deref;

use tonic::Code;

use crate::error::{CallStatus, Error};
use crate::error_decoding::{classify, decode_item_error};
use crate::v1::{RouteResponse, RouteResult, route_result};

/// Which tier and deployment should answer, and why. Its fields are those of the contract's `RouteResponse`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Decision {
    /// The contract's message.
    pub response: RouteResponse,
    /// True where the service gave no decision and `route_or` took the caller's default tier; all that is known then is the
    /// tier and one reason, of kind DEFAULT, that names the failure.
    pub fell_back: bool,
}

impl Deref for Decision {
    type Target = RouteResponse;

    fn deref(&self) -> &RouteResponse {
        &self.response
    }
}

impl From<RouteResponse> for Decision {
    fn from(response: RouteResponse) -> Self {
        Self { response, fell_back: false }
    }
}

/// One item of a batch or stream.
pub(crate) fn decode_result(result: Option<RouteResult>) -> Result<Decision, Error> {
    match result.and_then(|result| result.result) {
        Some(route_result::Result::Response(response)) => Ok(response.into()),
        Some(route_result::Result::Error(error)) => Err(decode_item_error(error)),
        // A kind of result that a newer server knows.
        None => Err(classify(CallStatus::new(Code::Unknown, "a result of an unknown kind"))),
    }
}
