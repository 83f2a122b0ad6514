//! `ztunnel ca` in a cluster, against a real API server: callers prove themselves by tokens of ServiceAccounts, and its
//! root is in a Secret.

mod brought;
mod callers;
mod mesh;
mod outage;
mod roots;
mod scene;
mod secret;
