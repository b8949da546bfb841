//! The client of Turnout, which routes each LLM request to the cheapest model tier that still meets its quality bar.
//!
//! ```no_run
//! # async fn ask() -> Result<(), Box<dyn std::error::Error>> {
//! let client = turnout::Client::new("localhost:50051")?;
//! let decision = client.route("What are your business hours?").await?;
//! println!("{} {}", decision.tier, decision.deployment);
//! # Ok(())
//! # }
//! ```

mod calls;
mod client;
mod decision;
mod error;
mod error_decoding;
mod fail_open;
mod options;
mod requests;
mod response_stream;
mod retry;
mod service_config;
mod target;
mod wire;

pub use client::Client;
pub use decision::Decision;
pub use error::{CallStatus, Error};
pub use options::{ClientBuilder, InvalidOption};
pub use response_stream::ResponseStream;
pub use tonic::Code;
pub use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
pub use tonic_health::pb::health_check_response::ServingStatus;

/// The contract's messages, whose comments give units and limits, and what is generated for its services.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    include!("generated/turnout.v1.rs");
}

/// This client's version, which is the server's of the same release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Compiles the code that README.md shows.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
