//! How a client connects: checked once, and turned into tonic's terms.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{ClientTlsConfig, Endpoint};

use crate::VERSION;
use crate::client::Client;
use crate::error::Error;
use crate::fail_open::OnFailOpen;
use crate::target::Target;
use crate::wire::Wire;

/// Of a message, both ways; the server's own default.
pub(crate) const MAX_MESSAGE_BYTES: usize = 16 << 20;
const MAX_CONNECTIONS: usize = 256;
const ROUTE_OR_TIMEOUT: Duration = Duration::from_millis(50);

/// Changes the defaults of a client; see `Client::builder`.
pub struct ClientBuilder {
    target: String,
    tls: Option<ClientTlsConfig>,
    token: Option<String>,
    connections: usize,
    user_agent: String,
    customise: Option<Box<dyn Fn(Endpoint) -> Endpoint + Send + Sync>>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) route_or_timeout: Duration,
    pub(crate) on_fail_open: Option<OnFailOpen>,
}

/// An option that breaks its limit. The message names it, its value, unless that is secret, and the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidOption(pub(crate) String);

impl fmt::Display for InvalidOption {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for InvalidOption {}

impl ClientBuilder {
    pub(crate) fn new(target: &str) -> Self {
        Self {
            target: target.to_owned(),
            tls: None,
            token: None,
            connections: 1,
            user_agent: String::new(),
            customise: None,
            timeout: None,
            route_or_timeout: ROUTE_OR_TIMEOUT,
            on_fail_open: None,
        }
    }

    /// Encrypts; `ClientTlsConfig::new().with_native_roots()` trusts the system's authorities. Without it, clear text is
    /// sent.
    pub fn tls(mut self, config: ClientTlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// A bearer token for every call; beyond this machine `tls` must protect it.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The deadline of `route`, `route_batch` and `check_health`; else 1, 5 and 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The deadline of `route_or`; else 50 ms.
    pub fn route_or_timeout(mut self, timeout: Duration) -> Self {
        self.route_or_timeout = timeout;
        self
    }

    /// Called with the error each time that `route_or` falls back.
    pub fn on_fail_open(mut self, call: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_fail_open = Some(Box::new(call));
        self
    }

    /// HTTP/2 connections, 1 to 256, used in turn; for where one is the limit.
    pub fn connections(mut self, count: usize) -> Self {
        self.connections = count;
        self
    }

    /// What to add to the user agent `turnout-rust/<version>`, such as "shop/2.1".
    pub fn user_agent(mut self, name: impl Into<String>) -> Self {
        self.user_agent = name.into();
        self
    }

    /// Changes tonic's own options, such as keepalive and windows.
    pub fn endpoint(mut self, customise: impl Fn(Endpoint) -> Endpoint + Send + Sync + 'static) -> Self {
        self.customise = Some(Box::new(customise));
        self
    }

    /// A client, within a Tokio runtime; it connects at the first call.
    pub fn build(self) -> Result<Client, InvalidOption> {
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            let limit = format!("1 to {MAX_CONNECTIONS}");
            return Err(InvalidOption(format!("connections: {} breaks the limit: {limit}", self.connections)));
        }
        for (name, timeout) in [("timeout", self.timeout), ("route_or_timeout", Some(self.route_or_timeout))] {
            if timeout.is_some_and(|timeout| timeout.is_zero()) {
                return Err(InvalidOption(format!("{name}: 0 s breaks the limit: more than 0 s")));
            }
        }
        if !self.user_agent.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(InvalidOption("user_agent: printable ASCII is needed".to_owned()));
        }
        let target = Target::parse(&self.target)?;
        let authorization = self.token.as_deref().map(authorization).transpose()?;
        if self.token.is_some() && self.tls.is_none() && !target.stays_on_machine() {
            let message = format!("token: {} is not on this machine, so TLS is needed", self.target);
            return Err(InvalidOption(message));
        }
        let endpoint = self.plan(&target)?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(InvalidOption("a client is made within a Tokio runtime".to_owned()));
        }
        let channels = (0..self.connections).map(|_| Wire(endpoint.connect_lazy())).collect();
        Ok(Client::from_parts(self, channels, authorization))
    }

    fn plan(&self, target: &Target) -> Result<Endpoint, InvalidOption> {
        let invalid = |name: &str, error: tonic::transport::Error| {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            InvalidOption(format!("{name}: {cause}"))
        };
        let user_agent = format!("turnout-rust/{VERSION} {}", self.user_agent);
        let mut endpoint = Endpoint::from_shared(target.to_uri(self.tls.is_some()))
            .and_then(|endpoint| endpoint.user_agent(user_agent.trim_end()))
            .map_err(|error| invalid("target", error))?
            // A peer that vanished is noticed while calls wait for it; an idle connection is left alone.
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(false)
            .connect_timeout(Duration::from_secs(5));
        if let Some(config) = &self.tls {
            endpoint = endpoint.tls_config(config.clone()).map_err(|error| invalid("tls", error))?;
        }
        Ok(self.customise.iter().fold(endpoint, |endpoint, customise| customise(endpoint)))
    }
}

fn authorization(token: &str) -> Result<MetadataValue<Ascii>, InvalidOption> {
    let needed = || InvalidOption("token: printable ASCII without spaces is needed".to_owned());
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(needed());
    }
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| needed())?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientBuilder").field("target", &self.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::Identity;

    use super::*;

    fn told(build: impl FnOnce(ClientBuilder) -> ClientBuilder) -> String {
        build(Client::builder("router.test:1")).build().unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_a_client_cannot_be_made_with() {
        let bad_certificate = Identity::from_pem("no", "key");
        for (told, wanted) in [
            (told(|b| b.connections(0)), "connections: 0 breaks the limit: 1 to 256"),
            (told(|b| b.connections(257)), "connections: 257 breaks the limit: 1 to 256"),
            (told(|b| b.timeout(Duration::ZERO)), "timeout: 0 s breaks the limit: more than 0 s"),
            (told(|b| b.route_or_timeout(Duration::ZERO)), "route_or_timeout: 0 s breaks the limit: more than 0 s"),
            (told(|b| b.user_agent("a\nb")), "user_agent: printable ASCII is needed"),
            (told(|b| b.token("s3cret spaced")), "token: printable ASCII without spaces is needed"),
            (told(|b| b.token("")), "token: printable ASCII without spaces is needed"),
            (told(|b| b.token("s3cret")), "token: router.test:1 is not on this machine, so TLS is needed"),
        ] {
            assert_eq!(told, wanted);
        }
        let told = told(|b| b.tls(ClientTlsConfig::new().identity(bad_certificate)));
        assert!(told.starts_with("tls: "), "{told}");
    }

    #[tokio::test]
    async fn tokens_are_not_shown() {
        let builder = Client::builder("router.test:1").token("s3cret").tls(ClientTlsConfig::new());
        assert!(!format!("{builder:?}").contains("s3cret"));
        assert!(!format!("{:?}", builder.build().unwrap()).contains("s3cret"));
    }

    #[test]
    fn a_client_needs_a_runtime() {
        let told = Client::new("localhost:1").unwrap_err().to_string();
        assert_eq!(told, "a client is made within a Tokio runtime");
    }
}
