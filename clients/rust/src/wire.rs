//! What arrives, before tonic reads it.
//!
//! tonic 0.14 panics where `grpc-status-details-bin` is not Base64, as a broken proxy or peer may send it. Such details are
//! left out: the status stands without them.

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Bytes, Service};
use tonic::transport::{self, Channel, channel};

const DETAILS: &str = "grpc-status-details-bin";
// With padding or without, as gRPC's protocol allows both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One HTTP/2 connection.
#[derive(Debug, Clone)]
pub(crate) struct Wire(pub(crate) Channel);

impl Service<Request<Body>> for Wire {
    type Response = Response<CheckedBody>;
    type Error = transport::Error;
    type Future = MapOk<channel::ResponseFuture, fn(Response<Body>) -> Response<CheckedBody>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), transport::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request).map_ok(|mut response| {
            leave_out_broken_details(response.headers_mut());
            response.map(CheckedBody)
        })
    }
}

/// A response whose trailers can be read.
#[derive(Debug)]
pub(crate) struct CheckedBody(Body);

impl http_body::Body for CheckedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut polled = Pin::new(&mut self.0).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            leave_out_broken_details(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn leave_out_broken_details(headers: &mut HeaderMap) {
    let broken = |value: &http::HeaderValue| BASE64.decode(value).is_err();
    if headers.get(DETAILS).is_some_and(broken) {
        headers.remove(DETAILS);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http::HeaderValue;
    use http_body::Body as _;

    use super::*;

    struct Frames(Vec<Frame<Bytes>>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop().map(Ok))
        }
    }

    fn with_details(value: &'static [u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("3"));
        headers.insert(DETAILS, HeaderValue::from_bytes(value).unwrap());
        headers
    }

    #[tokio::test]
    async fn details_that_are_not_base64_are_left_out_of_trailers() {
        for (value, kept) in [
            (&b"CAM"[..], true),
            (b"CAM=", true),
            (b"", true),
            (b"CAM==", false),
            (b"C-_M", false),
            (b"CAM,CAM", false),
            (b"not Base64", false),
            (b"\xff\xfe", false),
        ] {
            let frames = vec![Frame::trailers(with_details(value)), Frame::data(Bytes::from_static(b"abc"))];
            let mut body = CheckedBody(Body::new(Frames(frames)));
            let mut found = stream::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
            assert_eq!(found.next().await.unwrap().unwrap().into_data().unwrap(), "abc");
            let trailers = found.next().await.unwrap().unwrap().into_trailers().unwrap();
            // What is left, tonic reads.
            let status = Status::from_header_map(&trailers).unwrap();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            assert_eq!(trailers.contains_key(DETAILS), kept, "{value:?}");
        }
    }
}
