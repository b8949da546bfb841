//! Answers as they come.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};

use crate::error::Error;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;
type End = Pin<Box<dyn Future<Output = Error> + Send>>;

/// What a streaming call gives; a `futures::Stream`. The call begins when it is first polled; dropping it cancels the call.
/// An error is its last item.
#[must_use = "a stream does nothing until it is polled"]
pub struct ResponseStream<T> {
    // None once it has ended, so that nothing of the call is left.
    call: Option<(Answers<T>, End)>,
}

impl<T> ResponseStream<T> {
    /// `end` is what ends the call from this side: the deadline, or the client's `close`.
    pub(crate) fn new(
        answers: impl Stream<Item = Result<T, Error>> + Send + 'static,
        end: impl Future<Output = Error> + Send + 'static,
    ) -> Self {
        Self { call: Some((Box::pin(answers), Box::pin(end))) }
    }

    /// The next item; None after the last one.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        StreamExt::next(self).await
    }
}

impl<T> Stream for ResponseStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((answers, end)) = &mut self.call else {
            return Poll::Ready(None);
        };
        let item = match end.as_mut().poll(context) {
            Poll::Ready(error) => Some(Err(error)),
            Poll::Pending => std::task::ready!(answers.as_mut().poll_next(context)),
        };
        if !matches!(item, Some(Ok(_))) {
            self.call = None;
        }
        Poll::Ready(item)
    }
}

impl<T> fmt::Debug for ResponseStream<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ResponseStream").field("ended", &self.call.is_none()).finish()
    }
}
