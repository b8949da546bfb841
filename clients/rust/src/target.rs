//! Where the service is.

use std::net::IpAddr;

use tonic::transport::Uri;

use crate::options::InvalidOption;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Target {
    /// A host and its port, such as "router.internal:50051".
    Host(String),
    /// A Unix socket's path.
    Unix(String),
}

impl Target {
    /// Reads a gRPC target: "HOST:PORT", "dns:///HOST:PORT" or "unix:PATH".
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidOption> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(invalid(text)) } else { Ok(Self::Unix(path.to_owned())) };
        }
        let host = text.strip_prefix("dns:").map_or(text, |name| name.strip_prefix("///").unwrap_or(name));
        let uri: Uri = format!("http://{host}").parse().map_err(|_| invalid(text))?;
        if uri.port_u16().is_none() || uri.path() != "/" || uri.query().is_some() || host.contains(['@', '/']) {
            return Err(invalid(text));
        }
        Ok(Self::Host(host.to_owned()))
    }

    /// As tonic takes it.
    pub(crate) fn to_uri(&self, encrypted: bool) -> String {
        match self {
            Self::Host(host) if encrypted => format!("https://{host}"),
            Self::Host(host) => format!("http://{host}"),
            Self::Unix(path) => format!("unix://{path}"),
        }
    }

    /// True of a Unix socket and of one loopback address; false in doubt.
    pub(crate) fn stays_on_machine(&self) -> bool {
        let Self::Host(host) = self else {
            return true;
        };
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

fn invalid(text: &str) -> InvalidOption {
    InvalidOption(format!("target: {text} is not HOST:PORT, dns:///HOST:PORT or unix:PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_whether_a_token_may_go_there_in_clear_text() {
        for (text, uri, stays) in [
            ("localhost:50051", "http://localhost:50051", true),
            ("127.0.0.1:50051", "http://127.0.0.1:50051", true),
            ("127.0.0.2:1", "http://127.0.0.2:1", true),
            ("[::1]:50051", "http://[::1]:50051", true),
            ("dns:///localhost:50051", "http://localhost:50051", true),
            ("dns:localhost:50051", "http://localhost:50051", true),
            ("unix:/run/turnout.sock", "unix:///run/turnout.sock", true),
            ("unix:///run/turnout.sock", "unix:///run/turnout.sock", true),
            ("router.internal:50051", "http://router.internal:50051", false),
            ("10.0.0.1:50051", "http://10.0.0.1:50051", false),
            ("[2001:db8::1]:50051", "http://[2001:db8::1]:50051", false),
            ("localhost.evil.test:50051", "http://localhost.evil.test:50051", false),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!(target.to_uri(false), uri);
            assert_eq!(target.stays_on_machine(), stays, "{text}");
        }
    }

    #[test]
    fn what_is_no_target() {
        for text in [
            "",
            "unix:",
            "localhost",
            "localhost:x",
            "http://localhost:50051",
            "https://router.test:443",
            "xds:///router",
            "dns://127.0.0.1/router.internal:50051",
            "user@localhost:50051",
            "localhost:50051/path",
            "localhost:50051?query",
        ] {
            let told = Target::parse(text).unwrap_err().to_string();
            assert!(told.contains("HOST:PORT"), "{told}");
        }
    }
}
