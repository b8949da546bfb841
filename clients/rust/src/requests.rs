//! The commonest requests: a text is the request of one user's question, at most 4 MiB of UTF-8.

use crate::v1::{CompleteRequest, CompleteStreamRequest, RouteRequest};

impl From<String> for RouteRequest {
    fn from(prompt: String) -> Self {
        Self { prompt: Some(prompt), ..Self::default() }
    }
}

impl From<&str> for RouteRequest {
    fn from(prompt: &str) -> Self {
        prompt.to_owned().into()
    }
}

impl From<String> for CompleteRequest {
    fn from(prompt: String) -> Self {
        Self { prompt: Some(prompt), ..Self::default() }
    }
}

impl From<&str> for CompleteRequest {
    fn from(prompt: &str) -> Self {
        prompt.to_owned().into()
    }
}

impl From<CompleteRequest> for CompleteStreamRequest {
    fn from(request: CompleteRequest) -> Self {
        Self { request: Some(request), ..Self::default() }
    }
}

impl From<String> for CompleteStreamRequest {
    fn from(prompt: String) -> Self {
        CompleteRequest::from(prompt).into()
    }
}

impl From<&str> for CompleteStreamRequest {
    fn from(prompt: &str) -> Self {
        CompleteRequest::from(prompt).into()
    }
}
