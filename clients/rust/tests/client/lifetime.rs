//! Nothing is left behind.

use std::time::Duration;

use futures_util::stream;
use tokio::runtime::Handle;
use turnout::{Client, Error};

use crate::fake::{Fake, answering, serve, until};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn use_five_times(client: &Client, fake: &Fake) {
    client.route("a").await.unwrap();
    let error = client.with_timeout(Duration::from_millis(1)).route("slow").await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
    let other = client.clone();
    let call = tokio::spawn(async move { other.route("slow").await });
    let before = fake.calls.ever();
    until("no call came", || fake.calls.ever() > before || fake.calls.now() > 0).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let mut results = client.route_stream(stream::iter(["a", "b", "c"]));
    results.next().await.unwrap().unwrap().unwrap();
    drop(results);
    let mut events = client.complete_stream("endless");
    events.next().await.unwrap().unwrap();
}

/// A thousand calls, ten thousand with TURNOUT_FULL=1, four in five of them cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_leave_nothing_behind() {
    let rounds = if std::env::var("TURNOUT_FULL").is_ok_and(|full| full == "1") { 2_000 } else { 200 };
    let fake = serve(answering).await;
    let before = tasks();
    let client = fake.builder().connections(2).build().unwrap();
    for _ in 0..rounds {
        use_five_times(&client, &fake).await;
    }
    until("calls are left at the service", || fake.calls.now() == 0).await;
    assert_eq!((fake.connections.now(), fake.connections.ever()), (2, 2));
    // Of each connection, the tasks of tonic and of both sides of HTTP/2, whatever the number of calls.
    until("tasks are left while the client is open", || tasks() <= before + 2 * 6).await;
    client.close();
    until("connections are left", || fake.connections.now() == 0).await;
    until("tasks are left", || tasks() <= before).await;
}

#[tokio::test]
async fn clients_leave_nothing_behind() {
    let fake = serve(answering).await;
    let before = tasks();
    for round in 0..50 {
        let client = fake.builder().connections(2).build().unwrap();
        client.route("a").await.unwrap();
        client.route("a").await.unwrap();
        // The other half is dropped.
        if round % 2 == 0 {
            client.close();
        }
    }
    assert_eq!(fake.connections.ever(), 100);
    until("connections are left", || fake.connections.now() == 0).await;
    until("tasks are left", || tasks() <= before).await;
}
