//! Peers that are no gRPC service in good order.

use h2::Reason;
use http::Response;
use tokio::net::TcpListener;
use turnout::{Client, Error};

use crate::fake::PATIENCE;

#[derive(Clone, Copy)]
enum Answer {
    Headers(u16, &'static [(&'static str, &'static str)]),
    Reset(Reason),
    Hangup,
}

/// What a completion gives from a peer that speaks HTTP/2 and answers so.
async fn failing(answer: Answer) -> Error {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let peer = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            match answer {
                Answer::Headers(status, headers) => {
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(*name, *value);
                    }
                    respond.send_response(response.body(()).unwrap(), true).unwrap();
                }
                Answer::Reset(reason) => respond.send_reset(reason),
                Answer::Hangup => return,
            }
        }
    });
    let client = Client::new(&target).unwrap().with_timeout(PATIENCE);
    let error = client.complete("a").await.unwrap_err();
    peer.abort();
    error
}

#[tokio::test]
async fn what_they_send_is_an_error_of_the_right_kind() {
    use Answer::{Hangup, Headers, Reset};
    const GRPC: (&str, &str) = ("content-type", "application/grpc");
    for (answer, label) in [
        (Headers(503, &[]), "UNAVAILABLE"),
        (Headers(429, &[]), "UNAVAILABLE"),
        (Headers(401, &[]), "UNAUTHENTICATED"),
        (Headers(404, &[]), "UNIMPLEMENTED"),
        (Headers(200, &[GRPC, ("grpc-status", "8")]), "RESOURCE_EXHAUSTED"),
        (Headers(200, &[GRPC, ("grpc-status", "77")]), "UNKNOWN"),
        (Headers(200, &[GRPC, ("grpc-status", "8"), ("grpc-status-details-bin", "not Base64")]), "RESOURCE_EXHAUSTED"),
        (Headers(200, &[GRPC, ("grpc-status", "8"), ("grpc-message", "%ff%fe%")]), "UNKNOWN"),
        (Reset(Reason::REFUSED_STREAM), "UNAVAILABLE"),
        (Reset(Reason::CANCEL), "CANCELLED"),
        (Reset(Reason::ENHANCE_YOUR_CALM), "RESOURCE_EXHAUSTED"),
        (Reset(Reason::INADEQUATE_SECURITY), "PERMISSION_DENIED"),
        (Reset(Reason::INTERNAL_ERROR), "INTERNAL"),
        (Hangup, "UNAVAILABLE"),
    ] {
        let error = failing(answer).await;
        assert_eq!(error.label(), label, "{error}");
    }
}

#[tokio::test]
async fn what_speaks_another_protocol_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let peer = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        socket.writable().await.unwrap();
        socket.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Held, so that it is what was said that ends the call.
        std::future::pending::<()>().await;
    });
    let error = Client::new(&target).unwrap().with_timeout(PATIENCE).complete("a").await.unwrap_err();
    peer.abort();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}
