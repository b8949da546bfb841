//! Retries as gRPC's proposal A6 describes them, which tonic has none of: of UNAVAILABLE alone, with backoff, throttling
//! and the server's pushback.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::error_decoding::code_of;

/// A retryPolicy of a service config.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RetryPolicy {
    /// The first one among them.
    pub(crate) max_attempts: u32,
    pub(crate) initial_backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) multiplier: f64,
}

impl RetryPolicy {
    /// How long to wait before a retry; `retry` is 0 for the first, `random` from 0 to 1 spreads it by a fifth both ways.
    fn backoff(&self, retry: u32, random: f64) -> Duration {
        let grown = self.initial_backoff.as_secs_f64() * self.multiplier.powf(f64::from(retry));
        Duration::from_secs_f64(grown.min(self.max_backoff.as_secs_f64()) * (0.8 + 0.4 * random))
    }
}

/// Ends the retries of all calls to a service that mostly fails.
#[derive(Debug)]
pub(crate) struct Throttle {
    max_tokens: f64,
    token_ratio: f64,
    tokens: Mutex<f64>,
}

impl Throttle {
    pub(crate) fn new(max_tokens: f64, token_ratio: f64) -> Self {
        Self { max_tokens, token_ratio, tokens: Mutex::new(max_tokens) }
    }

    fn note_success(&self) {
        self.change(self.token_ratio);
    }

    /// True if a retry is permitted.
    fn note_failure(&self) -> bool {
        self.change(-1.0) > self.max_tokens / 2.0
    }

    fn change(&self, by: f64) -> f64 {
        // A number is whole whatever happened to its holder.
        let mut tokens = self.tokens.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *tokens = (*tokens + by).clamp(0.0, self.max_tokens);
        *tokens
    }
}

/// What a server says of retries with a failure.
#[derive(Debug, PartialEq)]
enum Pushback {
    Nothing,
    ComeBackAfter(Duration),
    StayAway,
}

impl Pushback {
    fn of(status: &Status) -> Self {
        let Some(value) = status.metadata().get("grpc-retry-pushback-ms") else {
            return Self::Nothing;
        };
        // What is no number forbids retries too, says the proposal.
        match value.to_str().ok().and_then(|text| text.parse::<u32>().ok()) {
            Some(wait_ms) => Self::ComeBackAfter(Duration::from_millis(wait_ms.into())),
            None => Self::StayAway,
        }
    }
}

/// Makes a call until it succeeds or should not be tried again.
///
/// A retry that could only begin after the deadline is not waited for. `attempt` gets the number of attempts before it;
/// `random` gives numbers from 0 to 1.
pub(crate) async fn with_retries<A, F: Future<Output = Result<A, Status>>>(
    policy: Option<&RetryPolicy>,
    throttle: &Throttle,
    deadline: Instant,
    mut random: impl FnMut() -> f64,
    mut attempt: impl FnMut(u32) -> F,
) -> Result<A, Status> {
    let Some(policy) = policy else {
        return attempt(0).await;
    };
    // A pushback starts the backoff anew.
    let mut retry = 0;
    for made in 1.. {
        let status = match attempt(made - 1).await {
            Ok(answer) => {
                throttle.note_success();
                return Ok(answer);
            }
            Err(status) => status,
        };
        let pushback = Pushback::of(&status);
        let unavailable = code_of(&status) == Code::Unavailable;
        if !unavailable && pushback != Pushback::StayAway {
            return Err(status);
        }
        let permitted = throttle.note_failure();
        let wait = match pushback {
            Pushback::Nothing => policy.backoff(retry, random()),
            Pushback::ComeBackAfter(wait) => wait,
            Pushback::StayAway => return Err(status),
        };
        if !permitted || made >= policy.max_attempts || Instant::now() + wait >= deadline {
            return Err(status);
        }
        retry = if pushback == Pushback::Nothing { retry + 1 } else { 0 };
        sleep(wait).await;
    }
    unreachable!("attempts have an end")
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 4,
        initial_backoff: Duration::from_millis(20),
        max_backoff: Duration::from_millis(250),
        multiplier: 2.5,
    };
    const AN_HOUR: Duration = Duration::from_secs(3_600);

    fn pushed_back(code: Code, value: &'static str) -> Status {
        let mut status = Status::new(code, "as told");
        status.metadata_mut().insert("grpc-retry-pushback-ms", value.parse().unwrap());
        status
    }

    /// When, in milliseconds after the first, attempts were made of a call whose failures are given; then it succeeds.
    async fn attempts(
        throttle: &Throttle,
        allowed: Duration,
        mut failures: Vec<Status>,
    ) -> (Vec<u128>, Result<(), Code>) {
        failures.reverse();
        let (begin, mut times) = (Instant::now(), Vec::new());
        let outcome = with_retries(
            Some(&POLICY),
            throttle,
            begin + allowed,
            || 0.5,
            |made| {
                assert_eq!(made as usize, times.len());
                times.push(begin.elapsed().as_millis());
                std::future::ready(failures.pop().map_or(Ok(()), Err))
            },
        );
        let outcome = outcome.await.map_err(|status| status.code());
        (times, outcome)
    }

    fn unavailable(times: usize) -> Vec<Status> {
        (0..times).map(|_| Status::unavailable("as told")).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_made_when_policy_and_pushback_say() {
        let other = || vec![Status::internal("as told")];
        let waits = |text| vec![pushed_back(Code::Unavailable, text)];
        for (failures, times, outcome) in [
            (unavailable(0), vec![0], Ok(())),
            (unavailable(1), vec![0, 20], Ok(())),
            (unavailable(3), vec![0, 20, 70, 195], Ok(())),
            (unavailable(4), vec![0, 20, 70, 195], Err(Code::Unavailable)),
            (other(), vec![0], Err(Code::Internal)),
            (waits("0"), vec![0, 0], Ok(())),
            (waits("700"), vec![0, 700], Ok(())),
            (waits("-1"), vec![0], Err(Code::Unavailable)),
            (waits("soon"), vec![0], Err(Code::Unavailable)),
            (vec![pushed_back(Code::Internal, "5")], vec![0], Err(Code::Internal)),
            // The backoff begins anew after a pushback.
            (
                [unavailable(1), waits("100"), unavailable(1)].into_iter().flatten().collect(),
                vec![0, 20, 120, 140],
                Ok(()),
            ),
        ] {
            let told = format!("{failures:?}");
            let throttle = Throttle::new(100.0, 0.1);
            assert_eq!(attempts(&throttle, AN_HOUR, failures).await, (times, outcome), "{told}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_only_begin_too_late_is_not_waited_for() {
        let (begin, throttle) = (Instant::now(), Throttle::new(100.0, 0.1));
        let found = attempts(&throttle, Duration::from_millis(70), unavailable(4)).await;
        assert_eq!(found, (vec![0, 20], Err(Code::Unavailable)));
        assert_eq!(begin.elapsed(), Duration::from_millis(20));
    }

    #[tokio::test(start_paused = true)]
    async fn throttling_counts_as_the_proposal_says() {
        let throttle = Throttle::new(4.0, 0.5);
        // Each failure takes a token; more than half must be left for a retry.
        assert_eq!(attempts(&throttle, AN_HOUR, unavailable(4)).await.0.len(), 2);
        assert_eq!(attempts(&throttle, AN_HOUR, unavailable(4)).await.0.len(), 1);
        for _ in 0..4 {
            attempts(&throttle, AN_HOUR, Vec::new()).await.1.unwrap();
        }
        // Three tokens are left, and one fails: no retry.
        assert_eq!(attempts(&throttle, AN_HOUR, unavailable(1)).await.0.len(), 1);
        for _ in 0..100 {
            attempts(&throttle, AN_HOUR, Vec::new()).await.1.unwrap();
        }
        assert_eq!(attempts(&throttle, AN_HOUR, unavailable(1)).await.0.len(), 2);
        // Being told to stay away counts, whatever the code; other failures do not.
        let throttle = Throttle::new(4.0, 0.5);
        for _ in 0..3 {
            attempts(&throttle, AN_HOUR, vec![Status::internal("as told")]).await.1.unwrap_err();
        }
        assert_eq!(*throttle.tokens.lock().unwrap(), 4.0);
        for _ in 0..9 {
            attempts(&throttle, AN_HOUR, vec![pushed_back(Code::Internal, "-1")]).await.1.unwrap_err();
        }
        assert_eq!(*throttle.tokens.lock().unwrap(), 0.0);
    }

    #[test]
    fn backoffs_grow_to_their_limit_within_their_spread() {
        let backoffs_ms = |random| [0, 1, 2, 9].map(|retry| POLICY.backoff(retry, random).as_secs_f64() * 1e3);
        assert_eq!(backoffs_ms(0.0).map(f64::round), [16.0, 40.0, 100.0, 200.0]);
        assert_eq!(backoffs_ms(0.5).map(f64::round), [20.0, 50.0, 125.0, 250.0]);
        assert_eq!(backoffs_ms(1.0).map(f64::round), [24.0, 60.0, 150.0, 300.0]);
    }
}
