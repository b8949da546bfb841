//! The client against services on real loopback ports.

mod calls;
mod connections;
mod errors;
mod fake;
mod lifetime;
mod package;
mod peers;
mod retries;
mod streams;
mod tls;
