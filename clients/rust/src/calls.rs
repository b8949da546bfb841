//! How calls are made: over which connection, until when, how often, and what ends them.

use std::future::{self, Future};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::{Stream, TryFutureExt, TryStreamExt};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::error::{CallStatus, Error};
use crate::error_decoding::{classify, code_of, decode_error, too_large};
use crate::options::MAX_MESSAGE_BYTES;
use crate::retry::{Throttle, with_retries};
use crate::service_config::SHARED;
use crate::wire::Wire;

/// What all calls of a client go through.
pub(crate) struct Calls {
    // HTTP/2 connections; none once the client is closed.
    channels: RwLock<Vec<Wire>>,
    turn: AtomicUsize,
    closed: watch::Sender<bool>,
    authorization: Option<MetadataValue<Ascii>>,
    throttle: Throttle,
}

impl Calls {
    pub(crate) fn new(channels: Vec<Wire>, authorization: Option<MetadataValue<Ascii>>) -> Self {
        Self {
            channels: RwLock::new(channels),
            turn: AtomicUsize::new(0),
            closed: watch::Sender::new(false),
            authorization,
            throttle: Throttle::new(SHARED.max_tokens, SHARED.token_ratio),
        }
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.channels.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All of them; none once the client is closed.
    pub(crate) fn channels(&self) -> Vec<Wire> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn next_channel(&self) -> Result<Wire, Error> {
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        channels.get(turn % channels.len().max(1)).cloned().ok_or(Error::Closed)
    }

    fn prepare<Q>(&self, question: Q, deadline: Instant, attempts_before: u32) -> Request<Q> {
        let mut request = Request::new(question);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some(value) = &self.authorization {
            request.metadata_mut().insert("authorization", value.clone());
        }
        if attempts_before > 0 {
            request.metadata_mut().insert("grpc-previous-rpc-attempts", attempts_before.into());
        }
        request
    }

    /// Makes a unary call.
    pub(crate) async fn ask<Q, A, F>(
        &self,
        method: &str,
        timeout: Duration,
        mut question: Q,
        mut attempt: impl FnMut(Request<Q>) -> F,
    ) -> Result<A, Error>
    where
        Q: Message + Clone + Default,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        check_size(&question)?;
        let deadline = Instant::now() + timeout;
        let policy = SHARED.methods[method].retry.as_ref();
        let once = |attempts_before| {
            let message = if policy.is_some() { question.clone() } else { mem::take(&mut question) };
            attempt(self.prepare(message, deadline, attempts_before))
        };
        let answer = with_retries(policy, &self.throttle, deadline, fastrand::f64, once);
        tokio::select! {
            biased;
            () = wait_until_closed(self.closed.subscribe()) => Err(cancelled()),
            answer = timeout_at(deadline, answer) => match answer {
                Ok(Ok(answer)) => Ok(answer.into_inner()),
                Ok(Err(status)) => Err(decode_failure(&status, deadline)),
                Err(_) => Err(deadline_exceeded()),
            },
        }
    }

    /// A streaming call's answers, and what ends it from this side; it begins when both are first polled.
    pub(crate) fn open<Q, A, F, O>(
        self: &Arc<Self>,
        timeout: Duration,
        question: Result<Q, Error>,
        open: O,
    ) -> (
        impl Stream<Item = Result<A, Error>> + Send + use<Q, A, F, O>,
        impl Future<Output = Error> + Send + use<Q, A, F, O>,
    )
    where
        O: FnOnce(Wire, Request<Q>) -> F + Send + 'static,
        Q: Send + 'static,
        A: Send + 'static,
        F: Future<Output = Result<Response<Streaming<A>>, Status>> + Send + 'static,
    {
        let calls = Arc::clone(self);
        let closed = self.closed.subscribe();
        let answers = async move {
            let deadline = Instant::now() + timeout;
            let request = calls.prepare(question?, deadline, 0);
            let answers = open(calls.next_channel()?, request).await;
            let answers = answers.map_err(|status| decode_failure(&status, deadline))?.into_inner();
            Ok(answers.map_err(move |status| decode_failure(&status, deadline)))
        };
        let end = async move {
            if *closed.borrow() {
                return Error::Closed;
            }
            tokio::select! {
                () = wait_until_closed(closed) => cancelled(),
                () = sleep(timeout) => deadline_exceeded(),
            }
        };
        (answers.try_flatten_stream(), end)
    }
}

pub(crate) fn check_size(message: &impl Message) -> Result<(), Error> {
    let bytes = message.encoded_len();
    if bytes > MAX_MESSAGE_BYTES { Err(too_large(bytes, MAX_MESSAGE_BYTES)) } else { Ok(()) }
}

/// Never ends where the client is dropped instead.
async fn wait_until_closed(mut closed: watch::Receiver<bool>) {
    let dropped = closed.wait_for(|closed| *closed).await.is_err();
    if dropped {
        future::pending().await
    }
}

/// Servers have other words for a deadline that has passed on both sides.
fn decode_failure(status: &Status, deadline: Instant) -> Error {
    let late = code_of(status) == Code::Cancelled && Instant::now() >= deadline;
    if late { deadline_exceeded() } else { decode_error(status) }
}

fn cancelled() -> Error {
    classify(CallStatus::new(Code::Cancelled, "the client was closed"))
}

fn deadline_exceeded() -> Error {
    classify(CallStatus::new(Code::DeadlineExceeded, "the deadline passed"))
}
