//! Failing open: what `route_or` answers when the service does not, and the count of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

use crate::decision::Decision;
use crate::error::Error;
use crate::v1::{DecisionStatus, Reason, ReasonKind, RouteResponse, Strategy};

pub(crate) type OnFailOpen = Box<dyn Fn(&Error) + Send + Sync>;

/// Counts failures and turns them into the caller's default.
#[derive(Default)]
pub(crate) struct FailOpen {
    on_fail_open: Option<OnFailOpen>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl FailOpen {
    pub(crate) fn new(on_fail_open: Option<OnFailOpen>) -> Self {
        Self { on_fail_open, counts: Mutex::default() }
    }

    /// By `Error::label`; a copy.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    /// The default as a decision.
    pub(crate) fn decide(&self, default_tier: &str, error: &Error) -> Decision {
        let label = error.label().to_owned();
        *self.lock().entry(label.clone()).or_default() += 1;
        if let Some(call) = &self.on_fail_open {
            // A broken counter must not turn failing open into failing.
            let _ = catch_unwind(AssertUnwindSafe(|| call(error)));
        }
        let reason = Reason { kind: ReasonKind::Default.into(), id: label, score: 0.0 };
        Decision {
            response: RouteResponse {
                tier: default_tier.to_owned(),
                status: DecisionStatus::Defaulted.into(),
                strategy: Strategy::Single.into(),
                reasons: vec![reason],
                propensity: 1.0,
                ..RouteResponse::default()
            },
            fell_back: true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        // Nothing that is done under it panics half way.
        self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
