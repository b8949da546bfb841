//! Calls whose answers come one by one.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use tonic::Status;
use turnout::v1::RouteRequest;
use turnout::v1::complete_stream_response::Event;
use turnout::{Decision, Error};

use crate::fake::{answering, serve, until};

/// The policies of a stream's results, and the error that ended it.
async fn policies(
    mut results: impl Stream<Item = Result<Result<Decision, Error>, Error>> + Unpin,
) -> (Vec<String>, Option<Error>) {
    let mut found = Vec::new();
    while let Some(result) = results.next().await {
        match result {
            Ok(decision) => found.push(decision.unwrap().response.policy),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}

#[tokio::test]
async fn results_keep_the_order_of_requests() {
    let fake = serve(answering).await;
    let results = fake.client().route_stream(stream::iter(["a", "b", "c"]));
    assert_eq!(policies(results).await, (vec!["a".into(), "b".into(), "c".into()], None));
}

#[tokio::test]
async fn results_come_before_the_next_request_is_made() {
    let fake = serve(answering).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<String>(1);
    let mut results = fake.client().route_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    for prompt in ["a", "b"] {
        sender.send(prompt.into()).await.unwrap();
        assert_eq!(results.next().await.unwrap().unwrap().unwrap().policy, prompt);
    }
    drop(sender);
    assert!(results.next().await.is_none());
    assert!(results.next().await.is_none());
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_ends_the_stream_and_is_told() {
    let fake = serve(answering).await;
    let requests = ["a".to_owned(), "a".repeat(17 << 20), "b".to_owned()];
    let (found, error) = policies(fake.client().route_stream(stream::iter(requests))).await;
    assert_eq!(found, ["a"]);
    assert!(matches!(error, Some(Error::InvalidRequest { .. })), "{error:?}");
}

#[tokio::test]
async fn a_stream_ends_with_the_services_error_while_requests_wait() {
    let fake = serve(async |_| Err(Status::unavailable("as told"))).await;
    let (held, requests) = waiting();
    let (found, error) = policies(fake.client().route_stream(requests)).await;
    assert_eq!(found, [""; 0]);
    assert!(matches!(error, Some(Error::Unavailable { .. })), "{error:?}");
    // Streams are not retried.
    assert_eq!(fake.seen().len(), 1);
    until("the requests are still held", || held.is_closed()).await;
}

/// One request, and then nothing; and what tells whether they are still held.
fn waiting() -> (tokio::sync::mpsc::Sender<()>, impl Stream<Item = RouteRequest> + Send + 'static) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<()>(1);
    let rest = tokio_stream::wrappers::ReceiverStream::new(receiver).map(|()| RouteRequest::default());
    (sender, stream::iter([RouteRequest::from("a")]).chain(rest))
}

#[tokio::test]
async fn leaving_a_stream_cancels_it() {
    let fake = serve(answering).await;
    let client = fake.client();
    let mut events = client.complete_stream("endless");
    let Some(Event::Text(delta)) = events.next().await.unwrap().unwrap().event else { panic!("no text") };
    assert_eq!((delta.text.len(), fake.calls.now()), (4_096, 1));
    drop(events);
    until("the completion goes on", || fake.calls.now() == 0).await;

    let (held, requests) = waiting();
    let mut results = client.route_stream(requests);
    results.next().await.unwrap().unwrap().unwrap();
    assert_eq!(fake.calls.now(), 1);
    drop(results);
    until("the decisions go on", || fake.calls.now() == 0).await;
    until("the requests are still held", || held.is_closed()).await;
}

#[tokio::test]
async fn the_deadline_of_a_stream_is_of_all_of_it() {
    let fake = serve(answering).await;
    let mut events = fake.client().with_timeout(Duration::from_millis(300)).complete_stream("silent");
    events.next().await.unwrap().unwrap();
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
    assert!(events.next().await.is_none());
    until("the completion goes on", || fake.calls.now() == 0).await;
}

#[tokio::test]
async fn a_stream_that_is_not_polled_makes_no_call() {
    let fake = serve(answering).await;
    let client = fake.client();
    drop(client.complete_stream("endless"));
    drop(client.route_stream(stream::iter(["a"])));
    client.route("a").await.unwrap();
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn a_stream_outlives_the_client_that_made_it() {
    let fake = serve(answering).await;
    let mut events = fake.client().complete_stream("endless");
    for _ in 0..100 {
        events.next().await.unwrap().unwrap();
    }
}
