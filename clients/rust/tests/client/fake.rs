//! A service that answers as a test says.

use std::future::{self, Future};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::server::Connected;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use turnout::v1::complete_stream_response::Event;
use turnout::v1::completion_service_server::{CompletionService, CompletionServiceServer};
use turnout::v1::route_result::Result as Item;
use turnout::v1::routing_service_server::{RoutingService, RoutingServiceServer};
use turnout::v1::*;
use turnout::{Client, ClientBuilder};

/// Longer than any step of a passing test takes: what ends a test that would hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

type Script = Box<dyn Fn(RouteRequest) -> BoxFuture<'static, Result<RouteResponse, Status>> + Send + Sync>;

/// What the service saw of one attempt.
#[derive(Clone)]
pub struct Seen {
    pub method: &'static str,
    pub metadata: MetadataMap,
}

impl Seen {
    pub fn text(&self, key: &str) -> &str {
        self.metadata.get(key).map_or("", |value| value.to_str().unwrap())
    }

    /// The deadline that came, in seconds.
    pub fn timeout_s(&self) -> f64 {
        let (number, unit) = self.text("grpc-timeout").split_at(self.text("grpc-timeout").len() - 1);
        let scale = match unit {
            "n" => 1e-9,
            "u" => 1e-6,
            "m" => 1e-3,
            _ => 1.0,
        };
        number.parse::<f64>().unwrap() * scale
    }
}

/// Counts what lives.
#[derive(Clone, Default)]
pub struct Counter {
    now: Arc<AtomicUsize>,
    ever: Arc<AtomicUsize>,
}

pub struct Alive(Counter);

impl Counter {
    fn begin(&self) -> Alive {
        self.now.fetch_add(1, Ordering::SeqCst);
        self.ever.fetch_add(1, Ordering::SeqCst);
        Alive(self.clone())
    }

    pub fn now(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }

    pub fn ever(&self) -> usize {
        self.ever.load(Ordering::SeqCst)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Inner {
    script: Script,
    seen: Mutex<Vec<Seen>>,
    requests: Mutex<Vec<RouteRequest>>,
    calls: Counter,
}

impl Inner {
    fn see<T>(&self, method: &'static str, request: &Request<T>) -> Alive {
        self.seen.lock().unwrap().push(Seen { method, metadata: request.metadata().clone() });
        self.calls.begin()
    }

    fn decide(&self, request: RouteRequest) -> BoxFuture<'static, Result<RouteResponse, Status>> {
        self.requests.lock().unwrap().push(request.clone());
        (self.script)(request)
    }
}

pub struct Fake {
    inner: Arc<Inner>,
    pub address: String,
    pub calls: Counter,
    pub connections: Counter,
    server: JoinHandle<()>,
    // Connections live as long as it does.
    cut: watch::Sender<()>,
}

impl Fake {
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().unwrap().clone()
    }

    pub fn requests(&self) -> Vec<RouteRequest> {
        self.inner.requests.lock().unwrap().clone()
    }

    /// A client whose deadlines a busy machine does not reach.
    pub fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    pub fn builder(&self) -> ClientBuilder {
        Client::builder(&self.address).timeout(PATIENCE).route_or_timeout(PATIENCE)
    }

    /// Ends the service, and cuts its connections.
    pub async fn stop(self) {
        self.server.abort();
        let _ = self.server.await;
        drop(self.cut);
        until("still connected", || self.connections.now() == 0).await;
    }
}

/// Serves what `script` says, on a port of loopback.
pub async fn serve<F>(script: impl Fn(RouteRequest) -> F + Send + Sync + 'static) -> Fake
where
    F: Future<Output = Result<RouteResponse, Status>> + Send + 'static,
{
    serve_at("127.0.0.1:0", None, script).await
}

pub async fn serve_at<F>(
    address: &str,
    tls: Option<ServerTlsConfig>,
    script: impl Fn(RouteRequest) -> F + Send + Sync + 'static,
) -> Fake
where
    F: Future<Output = Result<RouteResponse, Status>> + Send + 'static,
{
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connections = Counter::default();
    let counter = connections.clone();
    let cut = watch::Sender::new(());
    let cuts = cut.subscribe();
    let incoming = TcpListenerStream::new(listener).map_ok(move |socket| {
        let mut cuts = cuts.clone();
        let cut = Box::pin(async move { drop(cuts.changed().await) });
        Counted { socket, cut, _alive: counter.begin() }
    });
    let inner = Arc::new(Inner {
        script: Box::new(move |request| Box::pin(script(request))),
        seen: Mutex::default(),
        requests: Mutex::default(),
        calls: Counter::default(),
    });
    let mut builder = Server::builder();
    if let Some(config) = tls {
        builder = builder.tls_config(config).unwrap();
    }
    let routes = routes(&mut builder, Arc::clone(&inner)).await;
    let server = tokio::spawn(async move { routes.serve_with_incoming(incoming).await.unwrap() });
    Fake { calls: inner.calls.clone(), inner, address, connections, server, cut }
}

async fn routes(builder: &mut Server, inner: Arc<Inner>) -> tonic::transport::server::Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("away", tonic_health::ServingStatus::NotServing).await;
    builder
        .add_service(RoutingServiceServer::new(Service(Arc::clone(&inner))).max_decoding_message_size(64 << 20))
        .add_service(CompletionServiceServer::new(Service(inner)))
        .add_service(health)
}

/// The same on a Unix socket.
pub async fn serve_unix(path: &std::path::Path) -> JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(path).unwrap();
    let inner = Inner {
        script: Box::new(|request| Box::pin(answering(request))),
        seen: Mutex::default(),
        requests: Mutex::default(),
        calls: Counter::default(),
    };
    let routes = routes(&mut Server::builder(), Arc::new(inner)).await;
    let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
    tokio::spawn(async move { routes.serve_with_incoming(incoming).await.unwrap() })
}

/// Decides; `policy` is the prompt, so that results can be told apart.
pub async fn answering(request: RouteRequest) -> Result<RouteResponse, Status> {
    if request.prompt() == "slow" {
        future::pending::<()>().await;
    }
    Ok(answer(&request))
}

pub fn answer(request: &RouteRequest) -> RouteResponse {
    RouteResponse {
        decision_id: "0123456789abcdef0123456789abcdef".into(),
        status: DecisionStatus::Decided.into(),
        tier: "mid".into(),
        deployment: "mid-a".into(),
        policy: request.prompt().into(),
        ..RouteResponse::default()
    }
}

/// Waits until something holds that comes about behind the test's back.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

struct Service(Arc<Inner>);

fn decided(response: RouteResponse) -> RouteResult {
    RouteResult { result: Some(Item::Response(response)) }
}

#[tonic::async_trait]
impl RoutingService for Service {
    async fn route(&self, request: Request<RouteRequest>) -> Result<Response<RouteResponse>, Status> {
        let _alive = self.0.see("Route", &request);
        self.0.decide(request.into_inner()).await.map(Response::new)
    }

    /// An item of the prompt "left out" gets no result.
    async fn route_batch(&self, request: Request<RouteBatchRequest>) -> Result<Response<RouteBatchResponse>, Status> {
        let _alive = self.0.see("RouteBatch", &request);
        let mut results = Vec::new();
        for one in request.into_inner().requests {
            if one.prompt() != "left out" {
                results.push(decided(self.0.decide(one).await?));
            }
        }
        Ok(Response::new(RouteBatchResponse { results }))
    }

    type RouteStreamStream = BoxStream<'static, Result<RouteStreamResponse, Status>>;

    async fn route_stream(
        &self,
        request: Request<Streaming<RouteStreamRequest>>,
    ) -> Result<Response<Self::RouteStreamStream>, Status> {
        let alive = self.0.see("RouteStream", &request);
        let inner = Arc::clone(&self.0);
        let answers = request.into_inner().and_then(move |message| {
            let decision = inner.decide(message.request.unwrap_or_default());
            async move {
                let result = Some(decided(decision.await?));
                Ok(RouteStreamResponse { result, ..RouteStreamResponse::default() })
            }
        });
        Ok(Response::new(Held { events: answers.boxed(), _alive: alive }.boxed()))
    }
}

#[tonic::async_trait]
impl CompletionService for Service {
    async fn complete(&self, request: Request<CompleteRequest>) -> Result<Response<CompleteResponse>, Status> {
        let _alive = self.0.see("Complete", &request);
        self.0.decide(request.get_ref().prompt().into()).await?;
        let message = ChatMessage { content: "whole".into(), ..ChatMessage::default() };
        Ok(Response::new(CompleteResponse { message: Some(message), ..CompleteResponse::default() }))
    }

    type CompleteStreamStream = BoxStream<'static, Result<CompleteStreamResponse, Status>>;

    /// "endless" goes on until the caller goes, "silent" falls silent after the first event.
    async fn complete_stream(
        &self,
        request: Request<CompleteStreamRequest>,
    ) -> Result<Response<Self::CompleteStreamStream>, Status> {
        let alive = self.0.see("CompleteStream", &request);
        let prompt = request.get_ref().request.as_ref().map_or("", |request| request.prompt()).to_owned();
        self.0.decide(prompt.as_str().into()).await?;
        // A page, so that few of them fill what is sent ahead of the reader.
        let text = || {
            let delta = TextDelta { text: "o".repeat(4_096), ..TextDelta::default() };
            Ok(CompleteStreamResponse { event: Some(Event::Text(delta)) })
        };
        let events = match prompt.as_str() {
            "endless" => stream::repeat_with(text).boxed(),
            "silent" => stream::once(future::ready(text())).chain(stream::pending()).boxed(),
            _ => stream::once(future::ready(text())).boxed(),
        };
        Ok(Response::new(Held { events, _alive: alive }.boxed()))
    }
}

/// A stream that is counted as long as it is held.
struct Held<S> {
    events: S,
    _alive: Alive,
}

impl<S: Stream + Unpin> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        self.events.poll_next_unpin(context)
    }
}

/// A connection that is counted.
struct Counted {
    socket: TcpStream,
    cut: BoxFuture<'static, ()>,
    _alive: Alive,
}

impl Connected for Counted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
