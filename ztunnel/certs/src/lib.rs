//! Keys, certificate requests, TLS configurations, verifiers, renewal and the CA client.
