//! One connection's counters and record.

use std::fmt;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use authz::SourceClass;
use daemon::logs::{Direction, Party, PolicyRef, Record};
use daemon::metrics::{ConnectionCounters, ConnectionLabels, ResponseFlag, ServiceLabels};

use crate::telemetry::{End, Opening, Records, Telemetry, reporter, security};

/// What is told of one connection. Dropped, it closes the connection and leaves its record.
#[derive(Debug)]
pub struct Report {
    /// Taken when the report ends.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    opening: Opening,
    counters: ConnectionCounters,
    records: Rc<Records>,
    since: Instant,
}

impl Telemetry {
    /// Counts a connection as opened.
    pub fn open(&self, opening: Opening) -> Report {
        let service = opening.service.as_ref().map(|service| ServiceLabels {
            host: service.key.hostname.0.clone(),
            name: service.name.clone(),
            namespace: service.key.namespace.clone(),
        });
        let counters = self.counters.open(&ConnectionLabels {
            reporter: reporter(opening.direction),
            source: self.peers.of(&opening.source),
            destination: self.peers.of(&opening.destination),
            service: service.unwrap_or_default(),
            security: security(opening.path),
        });
        let records = self.records.clone();
        Report { open: Some(Open { opening, counters, records, since: Instant::now() }) }
    }
}

impl Report {
    /// Counts bytes from source to destination.
    pub fn sent(&self, bytes: u64) {
        self.counters().sent(bytes);
    }

    /// Counts bytes from destination to source.
    pub fn received(&self, bytes: u64) {
        self.counters().received(bytes);
    }

    /// Bytes so far: sent, received.
    pub fn bytes(&self) -> (u64, u64) {
        self.counters().bytes()
    }

    /// What was known of the connection when it was opened.
    pub fn opening(&self) -> &Opening {
        &self.open().opening
    }

    /// When it was opened.
    pub fn since(&self) -> Instant {
        self.open().since
    }

    /// A policy has decided about the connection since it was opened.
    pub fn decided_by(&mut self, policy: Option<PolicyRef>) {
        if let Some(open) = &mut self.open {
            open.opening.policy = policy;
        }
    }

    /// The connection failed.
    pub fn failed(mut self, flag: ResponseFlag, error: impl fmt::Display + Send + 'static) {
        if let Some(open) = self.open.take() {
            open.end(Some(flag), Some(Box::new(error)));
        }
    }

    /// The connection had come about and broke off, mostly by a reset: it counts as closed, and its record says why.
    pub fn broken(mut self, error: impl fmt::Display + Send + 'static) {
        if let Some(open) = self.open.take() {
            open.end(None, Some(Box::new(error)));
        }
    }

    fn counters(&self) -> &ConnectionCounters {
        &self.open().counters
    }

    fn open(&self) -> &Open {
        self.open.as_ref().expect("taken only by what consumes the report")
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            open.end(None, None);
        }
    }
}

impl Open {
    fn end(self, flag: Option<ResponseFlag>, error: Option<Box<dyn fmt::Display + Send>>) {
        let Self { opening, counters, records, since } = self;
        let (bytes_sent, bytes_received) = counters.bytes();
        if flag == Some(ResponseFlag::Deny) {
            let reason = error.as_ref().map(ToString::to_string);
            records.denials.push(&opening, reason.unwrap_or_default());
        }
        match flag {
            Some(flag) => counters.failed(flag),
            None => drop(counters),
        }
        let own = match opening.direction {
            Direction::Inbound => &opening.destination,
            Direction::Outbound => &opening.source,
        };
        let (trace, own) = (opening.trace, own.workload.clone());
        let record = Record {
            ended: SystemTime::now(),
            duration: since.elapsed(),
            direction: opening.direction,
            path: opening.path,
            source: Party { class: opening.class.map(SourceClass::name), ..party(&opening.source) },
            destination: party(&opening.destination),
            hbone_addr: opening.hbone_addr,
            service: opening.service.map(|service| service.key.hostname.0.clone()),
            hostname: opening.hostname,
            network: opening.network,
            bytes_sent,
            bytes_received,
            policy: opening.policy,
            trace: trace.own.sampled.then_some(trace.own.trace.get()),
            error,
        };
        #[cfg(feature = "otlp")]
        records.span(&record, &trace);
        if records.wants(own.as_deref(), record.error.is_some(), trace.draw()) {
            records.access.push(record);
        } else {
            records.skipped.inc();
        }
    }
}

fn party(end: &End) -> Party {
    let workload = end.workload.as_deref();
    Party {
        addr: end.addr,
        workload: workload.map(|workload| workload.name.clone()),
        namespace: workload.map(|workload| workload.profile.namespace.clone()),
        identity: end.identity.as_ref().map(identity::SpiffeId::shared),
        cluster: workload.map(|workload| workload.profile.cluster.0.clone()),
        class: None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Duration;

    use daemon::logs::{AccessLog, Format, Output, Path};
    use daemon::metrics::Metrics;
    use mesh::{
        AccessLogging, Capture, Change, ClusterId, Draws, NamespaceSettings, Network, Profile, Store,
        TunnelProtocol, Update, Workload, WorkloadKind, WorkloadUid,
    };
    use prometheus::IntCounter;

    use crate::telemetry::{Denials, Trace};

    use super::*;

    #[test]
    fn a_connection_leaves_one_record_and_its_counts() {
        let (telemetry, metrics, output, lines) = telemetry();
        let report = telemetry.open(opening());
        report.sent(5);
        report.received(7);
        drop(report);
        telemetry.flush();
        assert!(output.flush(Duration::from_secs(10)));
        let line = lines.try_recv().unwrap();
        for part in [
            "src.addr=10.0.0.1:40000 src.workload=\"cart-1\" src.namespace=\"shop\"",
            "src.identity=\"spiffe://cluster.local/ns/shop/sa/cart\" src.cluster=\"Kubernetes\"",
            "dst.addr=10.0.1.2:80 ",
            "direction=\"outbound\" path=\"hbone\" bytes_sent=5 bytes_recv=7 ",
        ] {
            assert!(line.contains(part), "{part:?} in {line}");
        }
        assert_eq!(lines.try_recv().ok(), None);

        let text = metrics.render();
        let sent = text.lines().find(|line| line.starts_with("istio_tcp_sent_bytes_total{")).unwrap();
        for part in [
            "reporter=\"source\"",
            "source_workload=\"cart\"",
            "source_principal=\"spiffe://cluster.local/ns/shop/sa/cart\"",
            "connection_security_policy=\"mutual_tls\"",
            "} 5",
        ] {
            assert!(sent.contains(part), "{part:?} in {sent}");
        }
    }

    #[test]
    fn a_failure_is_logged_with_its_reason_and_counted_with_its_flag() {
        let (telemetry, metrics, output, lines) = telemetry();
        telemetry.open(opening()).failed(ResponseFlag::Deny, "denied by rule 0 of policy shop/wall");
        telemetry.flush();
        assert!(output.flush(Duration::from_secs(10)));
        assert!(lines.try_recv().unwrap().contains("error=\"denied by rule 0 of policy shop/wall\""));
        assert!(metrics.render().contains("response_flags=\"DENY\"} 1"));
    }

    #[test]
    fn what_a_namespace_says_of_records_holds_for_its_workloads_and_spares_failures() {
        let (mut telemetry, _metrics, output, lines) = telemetry();
        let mut store = Store::new();
        let settings =
            NamespaceSettings { access_log: Some(AccessLogging::FAILURES), ..NamespaceSettings::new("shop") };
        store.apply(Update { namespaces: vec![Change::Upsert(settings)], ..Update::default() });
        let records = Records { snapshots: store.snapshots(), ..Records::clone(&telemetry.records) };
        telemetry.records = Rc::new(records);
        drop(telemetry.open(opening()));
        telemetry.open(opening()).failed(ResponseFlag::Connect, "no answer");
        assert!(output.flush(Duration::from_secs(10)));
        assert!(lines.try_recv().unwrap().contains("error=\"no answer\""));
        assert_eq!(lines.try_recv().ok(), None);
        assert_eq!(telemetry.records.skipped.get(), 1);
    }

    #[test]
    fn the_last_denials_are_kept_with_the_rule_that_denied() {
        let (telemetry, _metrics, _output, _lines) = telemetry();
        telemetry.open(opening()).failed(ResponseFlag::Connect, "no answer");
        drop(telemetry.open(opening()));
        for rule in 0..200 {
            let policy = PolicyRef { namespace: "shop".into(), name: "wall".into(), rule: Some(rule) };
            let opening = Opening { policy: Some(policy), ..opening() };
            telemetry.open(opening).failed(ResponseFlag::Deny, format!("rule {rule} says no"));
        }
        let kept = telemetry.records.denials.list();
        assert_eq!(kept.len(), 128);
        for (denial, rule) in kept.iter().zip(72..) {
            assert_eq!((denial.policy.as_deref(), denial.rule), (Some("shop/wall"), Some(rule)));
            assert_eq!(denial.reason, format!("rule {rule} says no"));
            assert_eq!(denial.source.workload.as_deref(), Some("shop/cart-1"));
            assert_eq!(denial.destination.address, "10.0.1.2:80".parse().unwrap());
        }
    }

    /// Sends each write on.
    struct Lines(Sender<String>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn telemetry() -> (Telemetry, Metrics, Output, std::sync::mpsc::Receiver<String>) {
        let (sender, lines) = channel();
        let output = Output::to(Lines(sender), Format::Text).unwrap();
        let metrics = Metrics::new("ztunnel", "1", 10).unwrap();
        let records = Records {
            access: AccessLog::new(output.clone()),
            default: AccessLogging::ALL,
            snapshots: Store::new().snapshots(),
            skipped: IntCounter::new("skipped", "Skipped.").unwrap(),
            denials: Denials::default(),
            #[cfg(feature = "otlp")]
            spans: None,
        };
        let telemetry = Telemetry::new(metrics.worker(), records);
        (telemetry, metrics, output, lines)
    }

    fn opening() -> Opening {
        Opening {
            direction: Direction::Outbound,
            path: Path::Hbone,
            source: End {
                addr: "10.0.0.1:40000".parse().unwrap(),
                workload: Some(Arc::new(cart())),
                identity: Some("spiffe://cluster.local/ns/shop/sa/cart".parse().unwrap()),
            },
            class: None,
            destination: End::unknown("10.0.1.2:80".parse().unwrap()),
            hbone_addr: Some("10.0.1.2:15008".parse().unwrap()),
            service: None,
            hostname: None,
            network: None,
            policy: None,
            trace: Trace::root(&mut Draws::new(1), false),
        }
    }

    fn cart() -> Workload {
        let profile = Profile {
            namespace: "shop".into(),
            service_account: "cart".into(),
            trust_domain: "cluster.local".parse().unwrap(),
            network: Network::default(),
            cluster: ClusterId("Kubernetes".into()),
            kind: WorkloadKind::Deployment,
            workload_name: "cart".into(),
            canonical_name: "cart".into(),
            canonical_revision: "latest".into(),
            app: "".into(),
            version: "".into(),
            protocol: TunnelProtocol::Hbone,
            host_network: false,
            native_ports: [].into(),
            waypoint: None,
            policies: Arc::default(),
            network_policy_selected: false,
            network_gateway: false,
            network_membership: mesh::NetworkMembership::default(),
        };
        Workload {
            uid: WorkloadUid("Kubernetes//Pod/shop/cart-1".into()),
            pod_uid: None,
            name: "cart-1".into(),
            addresses: ["10.0.0.1".parse().unwrap()].into_iter().collect(),
            hostname: None,
            node: Arc::default(),
            profile: Arc::new(profile),
            capture: Capture::Enabled,
            healthy: true,
            terminating: false,
            weight: 1,
            services: Arc::default(),
        }
    }
}
