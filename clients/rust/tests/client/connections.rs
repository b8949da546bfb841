//! Closing, and services that go and come.

use futures_util::stream;
use tonic::Code;
use turnout::{Client, Error};

use crate::fake::{PATIENCE, answering, serve, serve_at, serve_unix, until};

#[tokio::test]
async fn a_closed_client_is_refused() {
    let fake = serve(answering).await;
    let client = fake.client();
    client.close();
    client.clone().close();
    for error in [
        client.route("a").await.unwrap_err(),
        client.route_or("mid", "a").await.unwrap_err(),
        client.route_batch(["a"]).await.unwrap_err(),
        client.route_stream(stream::iter(["a"])).next().await.unwrap().unwrap_err(),
        client.complete("a").await.unwrap_err(),
        client.complete_stream("a").next().await.unwrap().unwrap_err(),
        client.check_health("").await.unwrap_err(),
    ] {
        assert_eq!((&error, error.label()), (&Error::Closed, "CLOSED"));
    }
    assert_eq!((fake.seen().len(), client.fail_open_count().len()), (0, 0));
}

#[tokio::test]
async fn closing_ends_calls_in_flight() {
    let fake = serve(answering).await;
    let client = fake.client();
    let mut events = client.complete_stream("silent");
    events.next().await.unwrap().unwrap();
    let other = client.clone();
    let call = tokio::spawn(async move { other.route("slow").await });
    until("no call came", || fake.calls.now() == 2).await;
    client.close();
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error}");
    until("the service goes on", || fake.calls.now() == 0).await;
    until("still connected", || fake.connections.now() == 0).await;
}

#[tokio::test]
async fn dropping_the_last_clone_disconnects() {
    let fake = serve(answering).await;
    let client = fake.client();
    client.clone().route("a").await.unwrap();
    assert_eq!(fake.connections.now(), 1);
    drop(client);
    until("still connected", || fake.connections.now() == 0).await;
}

#[tokio::test]
async fn a_service_that_goes_is_unavailable_and_found_again() {
    let fake = serve(answering).await;
    let client = fake.client();
    let address = fake.address.clone();
    let other = client.clone();
    let call = tokio::spawn(async move { other.complete("slow").await });
    until("no call came", || fake.calls.now() == 1).await;
    fake.stop().await;
    for error in [call.await.unwrap().unwrap_err(), client.complete("a").await.unwrap_err()] {
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
    let again = serve_at(&address, None, answering).await;
    client.route("a").await.unwrap();
    assert_eq!(again.seen().len(), 1);
}

#[tokio::test]
async fn nothing_that_listens_is_unavailable() {
    // A port that is bound and does not listen.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let target = socket.local_addr().unwrap().to_string();
    let error = Client::new(&target).unwrap().with_timeout(PATIENCE).route("a").await.unwrap_err();
    let Error::Unavailable { status, .. } = error else { panic!("{error}") };
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains("refused"), "{}", status.message);
}

#[tokio::test]
async fn unix_sockets() {
    let path = std::env::temp_dir().join(format!("turnout-{}.sock", std::process::id()));
    let server = serve_unix(&path).await;
    let client = Client::builder(&format!("unix:{}", path.display())).token("s3cret").build().unwrap();
    let decision = client.with_timeout(PATIENCE).route("a").await;
    std::fs::remove_file(&path).unwrap();
    server.abort();
    assert_eq!(decision.unwrap().policy, "a");
}
