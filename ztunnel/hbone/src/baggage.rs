//! The `baggage` header: what the peer says about the workload behind it (W3C Baggage, Istio's keys).
//!
//! It is a claim and nothing else: for labels of metrics and logs, never for a decision.

use std::fmt;

/// What `baggage` says of a workload. Empty parts are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage {
    /// Id of the cluster.
    pub cluster: Box<str>,
    /// Namespace.
    pub namespace: Box<str>,
    /// The kind of the workload behind `workload`.
    pub kind: WorkloadKind,
    /// Name of the workload: a deployment's, not its pods'.
    pub workload: Box<str>,
    /// Canonical name of the service (`service.istio.io/canonical-name`).
    pub service: Box<str>,
    /// Canonical revision of the service.
    pub version: Box<str>,
    /// Cloud region.
    pub region: Box<str>,
    /// Zone in that region.
    pub zone: Box<str>,
}

/// What a workload is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum WorkloadKind {
    /// A CronJob.
    CronJob,
    /// A Deployment; also everything that runs for ever.
    #[default]
    Deployment,
    /// A Job.
    Job,
    /// A Pod of its own.
    Pod,
}

impl Baggage {
    /// Reads a header, as far as it can be read: unknown keys, broken members and what is over the bounds is skipped.
    /// Of a key that comes twice, the first counts.
    pub fn parse(header: &str) -> Self {
        let mut baggage = Self::default();
        if header.len() > MAX_HEADER {
            return baggage;
        }
        for member in header.split(',').take(MAX_MEMBERS) {
            // Properties of a member are behind a semicolon.
            let member = member.split(';').next().unwrap_or_default();
            if let Some((key, value)) = member.split_once('=')
                && let Some(value) = percent_decode(value.trim_matches([' ', '\t']))
            {
                baggage.set(key.trim_matches([' ', '\t']), value);
            }
        }
        baggage
    }

    fn set(&mut self, key: &str, value: String) {
        if let Some(kind) = WorkloadKind::ALL.into_iter().find(|kind| kind.key() == key) {
            if self.workload.is_empty() {
                self.kind = kind;
                self.workload = value.into();
            }
            return;
        }
        let slot = match key {
            CLUSTER => &mut self.cluster,
            NAMESPACE => &mut self.namespace,
            SERVICE => &mut self.service,
            VERSION => &mut self.version,
            REGION => &mut self.region,
            ZONE => &mut self.zone,
            _ => return,
        };
        if slot.is_empty() {
            *slot = value.into();
        }
    }
}

/// The header.
impl fmt::Display for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = [
            (CLUSTER, &self.cluster),
            (NAMESPACE, &self.namespace),
            (self.kind.key(), &self.workload),
            (SERVICE, &self.service),
            (VERSION, &self.version),
            (REGION, &self.region),
            (ZONE, &self.zone),
        ];
        let mut separator = "";
        for (key, value) in members {
            if !value.is_empty() {
                write!(f, "{separator}{key}={}", PercentEncoded(value))?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl WorkloadKind {
    const ALL: [Self; 4] = [Self::CronJob, Self::Deployment, Self::Job, Self::Pod];

    const fn key(self) -> &'static str {
        match self {
            Self::CronJob => "k8s.cronjob.name",
            Self::Deployment => "k8s.deployment.name",
            Self::Job => "k8s.job.name",
            Self::Pod => "k8s.pod.name",
        }
    }
}

/// A value with everything escaped that W3C Baggage §3.3.1.3 does not allow.
struct PercentEncoded<'a>(&'a str);

impl fmt::Display for PercentEncoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'"' | b',' | b';' | b'\\' | b'%' => write!(f, "%{byte:02X}")?,
                b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

/// None for what is not UTF-8, too long, or would break a line of a log.
fn percent_decode(value: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?].map(char::from);
            let [high, low] = digits.map(|digit| digit.to_digit(16));
            decoded.push(u8::try_from(high? * 16 + low?).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    let text = String::from_utf8(decoded).ok()?;
    (text.len() <= MAX_VALUE && !text.chars().any(char::is_control)).then_some(text)
}

const CLUSTER: &str = "k8s.cluster.name";
const NAMESPACE: &str = "k8s.namespace.name";
const SERVICE: &str = "service.name";
const VERSION: &str = "service.version";
const REGION: &str = "cloud.region";
const ZONE: &str = "cloud.availability_zone";

/// W3C Baggage §3.3.2 lets receivers stop here.
const MAX_HEADER: usize = 8192;
const MAX_MEMBERS: usize = 180;

/// Kubernetes names have 253 characters at most; a label of a metric needs no more.
const MAX_VALUE: usize = 253;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn istios_header_is_read_and_written() {
        let header = "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.cronjob.name=sweep,service.name=sweep,\
                      service.version=v1,cloud.region=r1,cloud.availability_zone=z1";
        let baggage = Baggage::parse(header);
        assert_eq!(baggage.kind, WorkloadKind::CronJob);
        assert_eq!((&*baggage.namespace, &*baggage.workload, &*baggage.zone), ("shop", "sweep", "z1"));
        assert_eq!(baggage.to_string(), header);
    }

    #[test]
    fn empty_parts_are_left_out() {
        let baggage = Baggage { namespace: "shop".into(), ..Baggage::default() };
        assert_eq!(baggage.to_string(), "k8s.namespace.name=shop");
        assert_eq!(Baggage::default().to_string(), "");
    }

    #[test]
    fn properties_spaces_unknown_keys_and_repetitions_are_skipped() {
        let baggage =
            Baggage::parse(" service.name = a%2Cb ;p=1;q , x=y,,=,service.name=later, service.version=%zz");
        assert_eq!(baggage, Baggage { service: "a,b".into(), ..Baggage::default() });
    }

    #[test]
    fn what_would_break_a_log_or_a_bound_is_skipped() {
        let long = "a".repeat(254);
        for header in
            ["service.name=a%0Ab", "service.name=%ff", "service.name=%4", &format!("service.name={long}")]
        {
            assert_eq!(Baggage::parse(header), Baggage::default(), "{header}");
        }
        let filler = "x=y,".repeat(3000);
        assert_eq!(Baggage::parse(&format!("service.name=a,{filler}")), Baggage::default());
    }

    proptest! {
        #[test]
        fn any_names_round_trip(
            parts in proptest::array::uniform7("[^\\p{Cc}]{0,60}"),
            kind in proptest::sample::select(&WorkloadKind::ALL),
        ) {
            let [cluster, namespace, workload, service, version, region, zone] = parts.map(String::into_boxed_str);
            let kind = if workload.is_empty() { WorkloadKind::default() } else { kind };
            let baggage = Baggage { cluster, namespace, kind, workload, service, version, region, zone };
            prop_assert_eq!(Baggage::parse(&baggage.to_string()), baggage);
        }

        #[test]
        fn any_header_is_read_without_harm(header in "\\PC{0,300}") {
            let baggage = Baggage::parse(&header);
            prop_assert_eq!(Baggage::parse(&baggage.to_string()), baggage);
        }
    }
}
