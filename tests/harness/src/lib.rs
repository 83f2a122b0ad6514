//! The namespaces, pods and clients that suites, demo and bench are built from.
