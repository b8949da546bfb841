//! Retries as the service sees them; how they are timed is tested where they are made.

use tonic::Status;
use turnout::Error;

use crate::fake::{Fake, serve};

async fn unavailable(pushback: &'static str) -> Fake {
    serve(async move |_| {
        let mut status = Status::unavailable("as told");
        if !pushback.is_empty() {
            status.metadata_mut().insert("grpc-retry-pushback-ms", pushback.parse().unwrap());
        }
        Err(status)
    })
    .await
}

#[tokio::test]
async fn unavailable_is_retried_three_times_unless_pushed_back() {
    for (pushback, attempts) in [("", 4), ("0", 4), ("10", 4), ("-1", 1)] {
        let fake = unavailable(pushback).await;
        let client = fake.client();
        let error = client.route("a").await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        let told: Vec<_> = fake.seen().iter().map(|call| call.text("grpc-previous-rpc-attempts").to_owned()).collect();
        assert_eq!(told, ["", "1", "2", "3"][..attempts]);
        client.complete("a").await.unwrap_err();
        client.complete_stream("a").next().await.unwrap().unwrap_err();
        assert_eq!(fake.seen().len(), attempts + 2, "completions are tried once");
    }
}

#[tokio::test]
async fn throttling_ends_the_retries_of_a_service_that_stays_away() {
    let fake = unavailable("1").await;
    let client = fake.client();
    for _ in 0..40 {
        client.route("a").await.unwrap_err();
    }
    // Of 100 tokens each failed attempt takes one, and more than half must be left for a retry: 12 calls of four
    // attempts, one of two, and the rest of one.
    assert_eq!(fake.seen().len(), 12 * 4 + 2 + 27);
}
