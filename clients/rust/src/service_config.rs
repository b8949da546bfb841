//! The service config that the clients of all languages share: retries, throttling, default deadlines.
//!
//! gRPC takes a `timeout` of the service config as a ceiling of the caller's own deadline. Here it is a default.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;

use crate::retry::RetryPolicy;

pub(crate) const ROUTE: &str = "turnout.v1.RoutingService/Route";
pub(crate) const ROUTE_BATCH: &str = "turnout.v1.RoutingService/RouteBatch";
pub(crate) const ROUTE_STREAM: &str = "turnout.v1.RoutingService/RouteStream";
pub(crate) const COMPLETE: &str = "turnout.v1.CompletionService/Complete";
pub(crate) const COMPLETE_STREAM: &str = "turnout.v1.CompletionService/CompleteStream";
pub(crate) const CHECK_HEALTH: &str = "grpc.health.v1.Health/Check";

/// The file in the crate, a copy of clients/service_config.json; a test compares them.
pub(crate) static SHARED: LazyLock<ServiceConfig> =
    LazyLock::new(|| read(include_str!("../service_config.json")).expect("service_config.json is not as tested"));

#[derive(Debug)]
pub(crate) struct ServiceConfig {
    pub(crate) methods: HashMap<String, MethodConfig>,
    /// Tokens of a full throttle.
    pub(crate) max_tokens: f64,
    /// Tokens that a success gives back.
    pub(crate) token_ratio: f64,
}

#[derive(Debug)]
pub(crate) struct MethodConfig {
    /// Deadline of a call that is given none.
    pub(crate) timeout: Duration,
    /// None: never retried.
    pub(crate) retry: Option<RetryPolicy>,
}

/// None where the file is not as gRPC specifies it, or says what this client does not do.
fn read(file: &str) -> Option<ServiceConfig> {
    let document: Value = serde_json::from_str(file).ok()?;
    let mut methods = HashMap::new();
    for method in document["methodConfig"].as_array()? {
        let retry = match &method["retryPolicy"] {
            Value::Null => None,
            policy => Some(read_retry_policy(policy)?),
        };
        let timeout = duration(&method["timeout"])?;
        for name in method["name"].as_array()? {
            let path = format!("{}/{}", name["service"].as_str()?, name["method"].as_str()?);
            methods.insert(path, MethodConfig { timeout, retry: retry.clone() });
        }
    }
    let throttling = &document["retryThrottling"];
    Some(ServiceConfig {
        methods,
        max_tokens: throttling["maxTokens"].as_f64()?,
        token_ratio: throttling["tokenRatio"].as_f64()?,
    })
}

fn read_retry_policy(policy: &Value) -> Option<RetryPolicy> {
    if policy["retryableStatusCodes"] != serde_json::json!(["UNAVAILABLE"]) {
        return None;
    }
    Some(RetryPolicy {
        max_attempts: policy["maxAttempts"].as_u64()?.try_into().ok()?,
        initial_backoff: duration(&policy["initialBackoff"])?,
        max_backoff: duration(&policy["maxBackoff"])?,
        multiplier: policy["backoffMultiplier"].as_f64()?,
    })
}

/// A google.protobuf.Duration in proto3 JSON, such as "0.02s".
fn duration(value: &Value) -> Option<Duration> {
    let seconds = value.as_str()?.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_all_that_calls_need() {
        let timeouts_s = [
            (ROUTE, 1),
            (ROUTE_BATCH, 5),
            (ROUTE_STREAM, 3_600),
            (COMPLETE, 120),
            (COMPLETE_STREAM, 600),
            (CHECK_HEALTH, 1),
        ];
        for (method, timeout_s) in timeouts_s {
            assert_eq!(SHARED.methods[method].timeout, Duration::from_secs(timeout_s), "{method}");
            let retried = SHARED.methods[method].retry.is_some();
            assert_eq!(retried, [ROUTE, ROUTE_BATCH].contains(&method), "{method}");
        }
        let policy = SHARED.methods[ROUTE].retry.as_ref().unwrap();
        assert_eq!(policy.max_attempts, 4);
        assert_eq!(policy.initial_backoff, Duration::from_millis(20));
        assert_eq!((SHARED.max_tokens, SHARED.token_ratio), (100.0, 0.1));
    }

    #[test]
    fn what_is_no_service_config_is_refused() {
        let file = include_str!("../service_config.json");
        for (good, bad) in [
            ("\"1s\"", "\"1m\""),
            ("\"UNAVAILABLE\"", "\"ABORTED\""),
            ("\"maxTokens\"", "\"tokens\""),
            ("\"maxAttempts\": 4", "\"maxAttempts\": -4"),
            ("}", ""),
        ] {
            assert!(read(&file.replace(good, bad)).is_none(), "{bad}");
        }
    }
}
