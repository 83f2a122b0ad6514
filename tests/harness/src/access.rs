//! Records of connections, as a daemon logs them.

use std::net::SocketAddr;

use serde::Deserialize;

/// One connection, as a daemon logged it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AccessRecord {
    /// Where it came from.
    #[serde(rename = "src.addr")]
    pub source: SocketAddr,
    /// The pod that opened it.
    #[serde(rename = "src.workload")]
    pub source_workload: Option<String>,
    /// That pod's namespace.
    #[serde(rename = "src.namespace")]
    pub source_namespace: Option<String>,
    /// That pod's identity.
    #[serde(rename = "src.identity")]
    pub source_identity: Option<String>,
    /// What its source is known to be without an identity.
    #[serde(rename = "src.class")]
    pub source_class: Option<String>,
    /// Where it went.
    #[serde(rename = "dst.addr")]
    pub destination: SocketAddr,
    /// Where its tunnel went.
    #[serde(rename = "dst.hbone_addr")]
    pub hbone_addr: Option<SocketAddr>,
    /// The service that was called.
    #[serde(rename = "dst.service")]
    pub service: Option<String>,
    /// The pod that it reached.
    #[serde(rename = "dst.workload")]
    pub destination_workload: Option<String>,
    /// That pod's namespace.
    #[serde(rename = "dst.namespace")]
    pub destination_namespace: Option<String>,
    /// That pod's identity.
    #[serde(rename = "dst.identity")]
    pub destination_identity: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// `direct`, `double-hbone`, `hbone`, `node-local` or `passthrough`.
    pub path: String,
    /// The other end's network, where it is another one.
    pub network: Option<String>,
    /// Bytes from source to destination.
    pub bytes_sent: u64,
    /// Bytes from destination to source.
    #[serde(rename = "bytes_recv")]
    pub bytes_received: u64,
    /// The policy that allowed or denied.
    pub policy: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

impl AccessRecord {
    /// The records among the lines of a log.
    pub(crate) fn all_in(log: &str) -> Vec<Self> {
        let records = log.lines().filter(|line| line.contains(r#""scope":"access""#));
        records.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Whether it is of a pod with that name to a pod with that name.
    pub fn joins(&self, source: &str, destination: &str) -> bool {
        self.source_workload.as_deref() == Some(source)
            && self.destination_workload.as_deref() == Some(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_among_other_lines() {
        let log = concat!(
            "{\"level\":\"info\",\"message\":\"started\"}\n",
            "{\"level\":\"info\",\"scope\":\"access\",\"src.addr\":\"10.244.1.10:40000\",\"src.workload\":\"a\",",
            "\"dst.addr\":\"10.244.2.10:80\",\"dst.workload\":\"b\",\"direction\":\"outbound\",\"path\":\"hbone\",",
            "\"bytes_sent\":5,\"bytes_recv\":7,\"duration\":\"1ms\"}\n",
        );
        let records = AccessRecord::all_in(log);
        assert_eq!(records.len(), 1);
        assert!(records[0].joins("a", "b"));
        assert_eq!((records[0].path.as_str(), records[0].bytes_received), ("hbone", 7));
    }
}
