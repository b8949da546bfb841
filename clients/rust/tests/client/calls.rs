//! Calls of one answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use tonic::{Code, Status};
use turnout::v1::{CallerContext, CompleteRequest, DecisionStatus, ReasonKind, RouteRequest};
use turnout::{Client, Error, ServingStatus, VERSION};

use crate::fake::{answer, answering, serve, until};

#[tokio::test]
async fn route_sends_the_request_and_gives_the_decision() {
    let fake = serve(answering).await;
    let caller = CallerContext { tenant: "acme".into(), ..CallerContext::default() };
    let request = RouteRequest { caller: Some(caller), .."how?".into() };
    let decision = fake.client().route(request.clone()).await.unwrap();
    assert_eq!((&decision.response, decision.fell_back), (&answer(&request), false));
    assert_eq!((decision.tier.as_str(), decision.status()), ("mid", DecisionStatus::Decided));
    assert_eq!(fake.requests(), [request]);
}

#[tokio::test]
async fn a_batch_keeps_order_and_an_empty_one_makes_no_call() {
    let fake = serve(answering).await;
    let client = fake.client();
    assert_eq!(client.route_batch::<&str>([]).await.unwrap(), []);
    assert_eq!(fake.seen().len(), 0);
    let results = client.route_batch(["a", "b", "c"]).await.unwrap();
    let policies: Vec<_> = results.into_iter().map(|result| result.unwrap().response.policy).collect();
    assert_eq!(policies, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_batch_of_too_few_results_is_an_error() {
    let fake = serve(answering).await;
    let error = fake.client().route_batch(["a", "left out"]).await.unwrap_err();
    assert!(matches!(error, Error::Internal { .. }));
    assert_eq!(error.to_string(), "INTERNAL: 1 results for 2 requests");
}

/// One call of each kind that the fake notes.
async fn call_everything(client: &Client) {
    client.route("a").await.unwrap();
    client.route_batch(["a"]).await.unwrap();
    let mut results = client.route_stream(stream::iter(["a"]));
    while let Some(result) = results.next().await {
        result.unwrap().unwrap();
    }
    client.complete("a").await.unwrap();
    let mut events = client.complete_stream("a");
    while let Some(event) = events.next().await {
        event.unwrap();
    }
}

#[tokio::test]
async fn calls_carry_user_agent_and_token() {
    let fake = serve(answering).await;
    let client = fake.builder().token("s3cret").user_agent("shop/2").build().unwrap();
    call_everything(&client).await;
    let seen = fake.seen();
    assert_eq!(seen.len(), 5);
    for call in seen {
        let wanted = format!("turnout-rust/{VERSION} shop/2 tonic/");
        assert!(call.text("user-agent").starts_with(&wanted), "{}", call.text("user-agent"));
        assert_eq!(call.text("authorization"), "Bearer s3cret");
    }
}

#[tokio::test]
async fn every_call_has_a_deadline() {
    let fake = serve(answering).await;
    call_everything(&Client::new(&fake.address).unwrap()).await;
    for call in fake.seen() {
        let limit_s = match call.method {
            "Route" => 1.0,
            "RouteBatch" => 5.0,
            "RouteStream" => 3_600.0,
            "Complete" => 120.0,
            _ => 600.0,
        };
        let found_s = call.timeout_s();
        assert!(found_s > limit_s / 2.0 && found_s <= limit_s, "{}: {found_s} s", call.method);
    }
}

#[tokio::test]
async fn deadlines_can_be_longer_than_the_defaults_and_as_long_as_can_be() {
    let fake = serve(answering).await;
    let client = fake.client();
    client.with_timeout(Duration::from_secs(500)).route("a").await.unwrap();
    client.with_timeout(Duration::MAX).route("a").await.unwrap();
    client.with_timeout(Duration::from_secs(900)).complete("a").await.unwrap();
    let found: Vec<_> = fake.seen().iter().map(|call| call.timeout_s()).collect();
    assert!(found[0] > 400.0 && found[1] > 1e6 && found[2] > 800.0, "{found:?}");
}

#[tokio::test]
async fn a_deadline_that_passes_ends_the_call_on_both_sides() {
    let fake = serve(answering).await;
    let error = fake.client().with_timeout(Duration::from_millis(50)).route("slow").await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
    until("the service goes on", || fake.calls.now() == 0).await;
}

#[tokio::test]
async fn dropping_a_call_cancels_it() {
    let fake = serve(answering).await;
    let client = fake.client();
    let call = tokio::spawn(async move { client.route("slow").await });
    until("no call came", || fake.calls.now() == 1).await;
    call.abort();
    until("the service goes on", || fake.calls.now() == 0).await;
}

#[tokio::test]
async fn a_client_can_be_used_from_many_tasks_at_once() {
    let fake = serve(answering).await;
    let client = fake.builder().connections(2).build().unwrap();
    let calls = (0..100).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.route(number.to_string()).await.unwrap().response.policy })
    });
    for (number, policy) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(policy.unwrap(), number.to_string());
    }
}

#[tokio::test]
async fn health() {
    let fake = serve(answering).await;
    let client = fake.builder().connections(3).build().unwrap();
    for (service, status) in
        [("", ServingStatus::Serving), ("away", ServingStatus::NotServing), ("nobody", ServingStatus::ServiceUnknown)]
    {
        assert_eq!(client.check_health(service).await.unwrap(), status);
    }
    assert_eq!(fake.connections.ever(), 3);
}

#[tokio::test]
async fn route_or_fails_open_and_counts() {
    let fake = serve(async |request: RouteRequest| match request.prompt() {
        "mine" => Err(Status::invalid_argument("as told")),
        _ => Err(Status::internal("as told")),
    })
    .await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&told);
    let counter = move |error: &Error| {
        keep.lock().unwrap().push(error.label().to_owned());
        panic!("a broken counter");
    };
    let client = fake.builder().on_fail_open(counter).build().unwrap();
    let decision = client.route_or("frontier", "a").await.unwrap();
    assert!(decision.fell_back);
    assert_eq!((decision.tier.as_str(), decision.status()), ("frontier", DecisionStatus::Defaulted));
    let reasons: Vec<_> = decision.reasons.iter().map(|reason| (reason.kind(), reason.id.as_str())).collect();
    assert_eq!(reasons, [(ReasonKind::Default, "INTERNAL")]);
    let error = client.route_or("frontier", "mine").await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { .. }), "{error}");
    assert_eq!(client.fail_open_count(), [("INTERNAL".to_owned(), 1)].into());
    assert_eq!(*told.lock().unwrap(), ["INTERNAL"]);
}

#[tokio::test]
async fn route_or_waits_no_longer_than_its_own_deadline() {
    let fake = serve(answering).await;
    let client = Client::new(&fake.address).unwrap();
    let decision = client.route_or("mid", "slow").await.unwrap();
    assert!(decision.fell_back);
    assert_eq!(client.fail_open_count(), [("DEADLINE_EXCEEDED".to_owned(), 1)].into());
    until("the service goes on", || fake.calls.now() == 0).await;
}

#[tokio::test]
async fn messages_beyond_the_limit_are_the_callers_fault() {
    let fake = serve(answering).await;
    let client = fake.client();
    let large = "a".repeat(17 << 20);
    let complete = CompleteRequest { prompt: Some(large.clone()), ..CompleteRequest::default() };
    for error in [
        client.route(large.as_str()).await.unwrap_err(),
        client.route_or("mid", large.as_str()).await.unwrap_err(),
        client.complete(complete.clone()).await.unwrap_err(),
        client.complete_stream(complete).next().await.unwrap().unwrap_err(),
    ] {
        let Error::InvalidRequest { value, limit, status, .. } = error else { panic!("{error}") };
        assert!(value.ends_with(" bytes"), "{value}");
        assert_eq!((limit.as_str(), status.code), ("16777216 bytes", Code::ResourceExhausted));
    }
    assert_eq!(fake.seen().len(), 0);
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_taken_for_overload() {
    let fake = serve(async |request: RouteRequest| {
        let mut response = answer(&request);
        response.policy = "a".repeat(request.prompt().parse().unwrap());
        Ok(response)
    })
    .await;
    let client = fake.client();
    assert_eq!(client.route((15 << 20).to_string()).await.unwrap().policy.len(), 15 << 20);
    let error = client.route((17 << 20).to_string()).await.unwrap_err();
    let Error::Other { status, .. } = error else { panic!("{error}") };
    assert_eq!(status.code, Code::ResourceExhausted);
}
