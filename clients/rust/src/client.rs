//! The client.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{self, Future};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tokio::sync::oneshot;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::calls::{Calls, check_size};
use crate::decision::{Decision, decode_result};
use crate::error::{CallStatus, Error};
use crate::error_decoding::classify;
use crate::fail_open::FailOpen;
use crate::options::{ClientBuilder, InvalidOption, MAX_MESSAGE_BYTES};
use crate::response_stream::ResponseStream;
use crate::service_config::{self, SHARED};
use crate::v1::completion_service_client::CompletionServiceClient;
use crate::v1::routing_service_client::RoutingServiceClient;
use crate::v1::{
    CompleteRequest, CompleteResponse, CompleteStreamRequest, CompleteStreamResponse, RouteBatchRequest, RouteRequest,
    RouteStreamRequest,
};
use crate::wire::Wire;

/// More than any call takes, and less than what deadlines cannot hold.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// Asks the service. Make one, keep it, clone it where it is needed, close it at the end; it connects at the first call.
///
/// Every call has a deadline. UNAVAILABLE is retried within it, up to three times, unless the service asks to stay away;
/// streams and completions are not retried. Dropping a call cancels it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    // Of this view's calls; None: the defaults.
    timeout: Option<Duration>,
}

struct Shared {
    calls: Arc<Calls>,
    fail_open: FailOpen,
    timeout: Option<Duration>,
    route_or_timeout: Duration,
}

impl Client {
    /// A client with the defaults, for a gRPC target, such as "router.internal:50051" or "unix:/run/turnout.sock".
    pub fn new(target: &str) -> Result<Self, InvalidOption> {
        Self::builder(target).build()
    }

    /// What changes the defaults.
    pub fn builder(target: &str) -> ClientBuilder {
        ClientBuilder::new(target)
    }

    pub(crate) fn from_parts(
        options: ClientBuilder,
        channels: Vec<Wire>,
        authorization: Option<MetadataValue<Ascii>>,
    ) -> Self {
        let shared = Shared {
            calls: Arc::new(Calls::new(channels, authorization)),
            fail_open: FailOpen::new(options.on_fail_open),
            timeout: options.timeout,
            route_or_timeout: options.route_or_timeout,
        };
        Self { shared: Arc::new(shared), timeout: None }
    }

    /// The same client, whose calls have this deadline, longer or shorter than the default.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { shared: Arc::clone(&self.shared), timeout: Some(timeout) }
    }

    /// Asks which tier should answer a request.
    pub async fn route(&self, request: impl Into<RouteRequest>) -> Result<Decision, Error> {
        let channel = self.shared.calls.next_channel()?;
        let ask = |request| {
            let mut client = routing(channel.clone());
            async move { client.route(request).await }
        };
        Ok(self.ask(service_config::ROUTE, request.into(), ask).await?.into())
    }

    /// As `route`, but fails open: without a decision the caller's default tier serves, with `fell_back` true, and the case
    /// is counted. The deadline is 50 ms, if neither `with_timeout` nor `route_or_timeout` gives another.
    ///
    /// An error is what a default would hide: the request breaks the contract, or the client is closed.
    pub async fn route_or(&self, default_tier: &str, request: impl Into<RouteRequest>) -> Result<Decision, Error> {
        let bounded = self.with_timeout(self.timeout.unwrap_or(self.shared.route_or_timeout));
        match bounded.route(request).await {
            Err(error @ (Error::InvalidRequest { .. } | Error::Closed)) => Err(error),
            Err(error) => Ok(self.shared.fail_open.decide(default_tier, &error)),
            decided => decided,
        }
    }

    /// How often `route_or` fell back, by `Error::label`; a copy.
    pub fn fail_open_count(&self) -> BTreeMap<String, u64> {
        self.shared.fail_open.counts()
    }

    /// Asks for many decisions in one call, at most 1,024; none at all make no call. The results are in the requests'
    /// order; the outer error is of the call as a whole.
    pub async fn route_batch<R: Into<RouteRequest>>(
        &self,
        requests: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Result<Decision, Error>>, Error> {
        let batch = RouteBatchRequest { requests: requests.into_iter().map(Into::into).collect() };
        let count = batch.requests.len();
        if count == 0 {
            return Ok(Vec::new());
        }
        let channel = self.shared.calls.next_channel()?;
        let ask = |request| {
            let mut client = routing(channel.clone());
            async move { client.route_batch(request).await }
        };
        let results = self.ask(service_config::ROUTE_BATCH, batch, ask).await?.results;
        if results.len() != count {
            let message = format!("{} results for {count} requests", results.len());
            return Err(classify(CallStatus::new(Code::Internal, message)));
        }
        Ok(results.into_iter().map(|result| decode_result(Some(result))).collect())
    }

    /// Asks for decisions as requests come, and gives their results in order; an item's outer error is of the stream as a
    /// whole. It is not retried; its default deadline is an hour. The requests are read ahead of the results, and dropped
    /// with the stream.
    pub fn route_stream<R: Into<RouteRequest>>(
        &self,
        requests: impl Stream<Item = R> + Send + 'static,
    ) -> ResponseStream<Result<Decision, Error>> {
        // What cannot be sent ends the requests, and is told after the results of what came before.
        let unsent = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&unsent);
        // Dropped with the results. A call lives as long as its requests, too, if they are not ended.
        let (results_alive, results_gone) = oneshot::channel::<Infallible>();
        let messages = requests
            .map(|request| RouteStreamRequest { request: Some(request.into()), ..RouteStreamRequest::default() })
            .take_while(move |message| {
                let failure = check_size(message).err();
                let sendable = failure.is_none();
                *keep.lock().unwrap_or_else(PoisonError::into_inner) = failure;
                future::ready(sendable)
            })
            .take_until(results_gone);
        let open = |channel, request| async move { routing(channel).route_stream(request).await };
        let rest = stream::once(async move {
            drop(results_alive);
            unsent.lock().unwrap_or_else(PoisonError::into_inner).take()
        });
        let rest = rest.filter_map(|failure| future::ready(failure.map(Err)));
        let (answers, end) = self.shared.calls.open(self.timeout_of(service_config::ROUTE_STREAM), Ok(messages), open);
        let results = answers.map_ok(|answer| decode_result(answer.result));
        ResponseStream::new(results.chain(rest), end)
    }

    /// Has a request answered by the tier that is decided for it. The client retries nothing: the service has done what
    /// helps, and the call is billed.
    pub async fn complete(&self, request: impl Into<CompleteRequest>) -> Result<CompleteResponse, Error> {
        let channel = self.shared.calls.next_channel()?;
        let ask = |request| {
            let mut client = completion(channel.clone());
            async move { client.complete(request).await }
        };
        self.ask(service_config::COMPLETE, request.into(), ask).await
    }

    /// Has a request answered, as the answer comes: `started` first; after `restarted` the deltas before it do not count;
    /// `finished` last. The client retries nothing.
    ///
    /// After an error there is no whole answer; it comes after a `failed` event where anything was asked upstream.
    pub fn complete_stream(&self, request: impl Into<CompleteStreamRequest>) -> ResponseStream<CompleteStreamResponse> {
        let request = request.into();
        let question = check_size(&request).map(|()| request);
        let open = |channel, request| async move { completion(channel).complete_stream(request).await };
        let (answers, end) = self.shared.calls.open(self.timeout_of(service_config::COMPLETE_STREAM), question, open);
        ResponseStream::new(answers, end)
    }

    /// Asks each connection's server how it is, and so connects. The empty service means the whole server. The answer is
    /// Serving, or what the first other one says.
    pub async fn check_health(&self, service: &str) -> Result<ServingStatus, Error> {
        let channels = self.shared.calls.channels();
        if channels.is_empty() {
            return Err(Error::Closed);
        }
        for channel in channels {
            let request = HealthCheckRequest { service: service.to_owned() };
            let ask = |request| {
                let mut client = HealthClient::new(channel.clone());
                async move { client.check(request).await }
            };
            match self.ask(service_config::CHECK_HEALTH, request, ask).await {
                Ok(answer) if answer.status() == ServingStatus::Serving => (),
                Ok(answer) => return Ok(answer.status()),
                Err(error) if error.status().is_some_and(|status| status.code == Code::NotFound) => {
                    return Ok(ServingStatus::ServiceUnknown);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(ServingStatus::Serving)
    }

    /// Ends calls in flight with `Error::Cancelled` and disconnects, for all clones. May be called again.
    pub fn close(&self) {
        self.shared.calls.close();
    }

    async fn ask<Q, A, F>(&self, method: &str, question: Q, attempt: impl FnMut(Request<Q>) -> F) -> Result<A, Error>
    where
        Q: Message + Clone + Default,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        self.shared.calls.ask(method, self.timeout_of(method), question, attempt).await
    }

    fn timeout_of(&self, method: &str) -> Duration {
        let short = [service_config::ROUTE, service_config::ROUTE_BATCH, service_config::CHECK_HEALTH];
        let given = self.timeout.or(self.shared.timeout.filter(|_| short.contains(&method)));
        given.unwrap_or(SHARED.methods[method].timeout).min(LONGEST_TIMEOUT)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

fn routing(channel: Wire) -> RoutingServiceClient<Wire> {
    RoutingServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

fn completion(channel: Wire) -> CompletionServiceClient<Wire> {
    CompletionServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}
