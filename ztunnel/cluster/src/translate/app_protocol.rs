//! What is spoken at a port.

use mesh::AppProtocol;

/// Of a Service's port: `appProtocol`, else what the port's name begins with.
pub(super) fn of_service(app_protocol: Option<&str>, name: &str) -> AppProtocol {
    match app_protocol {
        Some("kubernetes.io/h2c") => AppProtocol::Http2,
        Some("kubernetes.io/ws" | "kubernetes.io/wss") => AppProtocol::Http11,
        Some(said) => named(said),
        None => named(name.split('-').next().unwrap_or_default()),
    }
}

/// Of a ServiceEntry's port.
pub(super) fn of_entry(protocol: &str) -> AppProtocol {
    named(protocol)
}

/// The names that Istio has for protocols.
fn named(name: &str) -> AppProtocol {
    match name.to_ascii_lowercase().as_str() {
        "grpc" | "grpc-web" => AppProtocol::Grpc,
        "http" => AppProtocol::Http11,
        "http2" => AppProtocol::Http2,
        "https" | "tls" => AppProtocol::Tls,
        "mongo" | "mysql" | "redis" | "tcp" => AppProtocol::Tcp,
        _ => AppProtocol::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_port_says_counts_more_than_its_name() {
        for (app_protocol, name, want) in [
            (None, "http", AppProtocol::Http11),
            (None, "grpc-api", AppProtocol::Grpc),
            (None, "metrics", AppProtocol::Unknown),
            (None, "", AppProtocol::Unknown),
            (Some("kubernetes.io/h2c"), "http", AppProtocol::Http2),
            (Some("TLS"), "http", AppProtocol::Tls),
            (Some("example.com/own"), "http", AppProtocol::Unknown),
        ] {
            assert_eq!(of_service(app_protocol, name), want, "{app_protocol:?} {name}");
        }
    }
}
