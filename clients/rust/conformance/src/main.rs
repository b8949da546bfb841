//! Runs the cases of the conformance table through the Rust client: turnout-conformance cases.json. What it reads and
//! writes is described in tests/conformance/README.md of the project.

use std::pin::pin;
use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use serde_json::{Map, Value, json};
use turnout::v1::{CompleteRequest, CompleteStreamRequest, RouteRequest};
use turnout::{Client, Decision, Error};

type Failure = Box<dyn std::error::Error>;
type Outcome = Map<String, Value>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let path = std::env::args().nth(1).ok_or("usage: turnout-conformance cases.json")?;
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    for case in document["cases"].as_array().ok_or("cases: a list is needed")? {
        let outcome = run(case).await.map_err(|error| format!("{}: {error}", case["id"]))?;
        println!("{}", json!({"id": case["id"], "outcome": outcome}));
    }
    Ok(())
}

async fn run(case: &Value) -> Result<Outcome, Failure> {
    let connections = case["connections"].as_u64().unwrap_or(1).try_into()?;
    let client = Client::builder(text(&case["address"])?).connections(connections).build()?;
    let view = match case["timeout_s"].as_f64() {
        Some(timeout_s) => client.with_timeout(Duration::from_secs_f64(timeout_s)),
        None => client.clone(),
    };
    if let Some(after_s) = case["cancel_after_s"].as_f64() {
        let client = client.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(after_s)).await;
            client.close();
        });
    }
    let mut outcome = Outcome::new();
    if let Err(failure) = call(case, &view, &mut outcome).await {
        let error = failure.downcast::<Error>()?;
        outcome.insert("error".into(), error_form(&error));
    }
    outcome.insert("failed_open".into(), client.fail_open_count().values().sum::<u64>().into());
    client.close();
    Ok(outcome)
}

/// Puts what comes into `outcome`, as it comes.
async fn call(case: &Value, client: &Client, outcome: &mut Outcome) -> Result<(), Failure> {
    let most = case["cancel_after_events"].as_u64();
    match text(&case["operation"])? {
        "route" => {
            let decision = client.route(first::<RouteRequest>(case)?).await?;
            outcome.insert("response".into(), message_form(&decision.response));
        }
        "route_or" => {
            let decision = client.route_or(text(&case["default_tier"])?, first::<RouteRequest>(case)?).await?;
            outcome.insert("tier".into(), decision.tier.clone().into());
            outcome.insert("fell_back".into(), decision.fell_back.into());
            if !decision.fell_back {
                outcome.insert("response".into(), message_form(&decision.response));
            }
        }
        "route_batch" => {
            let results = client.route_batch(read::<RouteRequest>(case)?).await?;
            outcome.insert("results".into(), results.iter().map(result_form).collect());
        }
        "route_stream" => {
            let results = client.route_stream(stream::iter(read::<RouteRequest>(case)?));
            collect(results, outcome, "results", result_form, most).await?;
        }
        "complete" => {
            let answer = client.complete(first::<CompleteRequest>(case)?).await?;
            outcome.insert("response".into(), message_form(&answer));
        }
        "complete_stream" => {
            let events = client.complete_stream(first::<CompleteStreamRequest>(case)?);
            collect(events, outcome, "events", message_form, most).await?;
        }
        "check_health" => {
            outcome.insert("health".into(), client.check_health("").await?.as_str_name().into());
        }
        operation => return Err(format!("operation: {operation} is not known").into()),
    }
    Ok(())
}

async fn collect<T>(
    items: impl Stream<Item = Result<T, Error>>,
    outcome: &mut Outcome,
    key: &str,
    form: impl Fn(&T) -> Value,
    most: Option<u64>,
) -> Result<(), Error> {
    let mut items = pin!(items);
    let mut forms = Vec::new();
    let mut failure = Ok(());
    while most != Some(forms.len() as u64) {
        match items.next().await {
            Some(Ok(item)) => forms.push(form(&item)),
            Some(Err(error)) => failure = Err(error),
            None => break,
        }
    }
    outcome.insert(key.into(), forms.into());
    failure
}

fn read<M: Message + Default>(case: &Value) -> Result<Vec<M>, Failure> {
    let requests = case["requests"].as_array().ok_or("requests: a list is needed")?;
    requests.iter().map(|one| Ok(M::decode(BASE64.decode(text(&one["base64"])?)?.as_slice())?)).collect()
}

fn first<M: Message + Default>(case: &Value) -> Result<M, Failure> {
    Ok(read(case)?.into_iter().next().ok_or("requests: one is needed")?)
}

fn text(value: &Value) -> Result<&str, Failure> {
    Ok(value.as_str().ok_or_else(|| format!("{value}: a text is needed"))?)
}

fn message_form(answer: &impl Message) -> Value {
    json!({"base64": BASE64.encode(answer.encode_to_vec())})
}

fn result_form(result: &Result<Decision, Error>) -> Value {
    match result {
        Ok(decision) => json!({"response": message_form(&decision.response)}),
        Err(error) => json!({"error": error_form(error)}),
    }
}

fn error_form(error: &Error) -> Value {
    let kind = match error {
        Error::InvalidRequest { .. } => "invalid_request",
        Error::NoCandidate { .. } => "no_candidate",
        Error::Overloaded { .. } => "overloaded",
        Error::Unavailable { .. } => "unavailable",
        Error::DeadlineExceeded { .. } => "deadline_exceeded",
        Error::Cancelled { .. } => "cancelled",
        Error::AccessDenied { .. } => "access_denied",
        Error::Internal { .. } => "internal",
        Error::Other { .. } => "other",
        _ => "none of the table's",
    };
    let Some(status) = error.status() else {
        return json!({"kind": kind});
    };
    json!({
        "kind": kind,
        "code": status.code_name(),
        "reason": if status.reason.is_empty() { "UNSPECIFIED" } else { &status.reason },
        "field": status.metadata.get("field").map_or("", String::as_str),
        "metadata": status.metadata,
        "retry_after_s": status.retry_after.map(|delay| delay.as_secs_f64()),
    })
}
