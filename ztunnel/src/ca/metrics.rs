//! What a CA counts. Names are those of Istio's, where it counts the same.

use daemon::metrics::{Metrics, RegisterError};
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

use super::Refusal;
use super::status::CaCounts;

/// A CA's own metrics.
#[derive(Clone, Debug)]
pub struct CaMetrics {
    requests: IntCounter,
    signatures: IntCounter,
    unauthenticated: IntCounter,
    malformed: IntCounter,
    refusals: IntCounterVec,
    root_expiry: IntGauge,
    serving_expiry: IntGauge,
}

impl CaMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When their names are taken.
    pub fn register(metrics: &Metrics) -> Result<Self, RegisterError> {
        let made = Self {
            requests: metrics.counter("citadel_server_csr_count", "Certificate requests received.")?,
            signatures: metrics
                .counter("citadel_server_success_cert_issuance_count", "Certificates signed.")?,
            unauthenticated: metrics.counter(
                "citadel_server_authentication_failure_count",
                "Requests whose sender did not prove who it is.",
            )?,
            malformed: metrics
                .counter("citadel_server_csr_parsing_err_count", "Requests that are malformed.")?,
            refusals: metrics.counter_vec(
                "ambient_ca_refusals_total",
                "Requests that were refused, by reason.",
                &["reason"],
            )?,
            root_expiry: metrics.gauge(
                "citadel_server_root_cert_expiry_timestamp",
                "When the CA's own chain ends, in seconds since 1970.",
            )?,
            serving_expiry: metrics.gauge(
                "ambient_ca_serving_cert_expiry_timestamp",
                "When the certificate of the CA's own server ends, in seconds since 1970.",
            )?,
        };
        // The first of a reason is a step, and not the beginning of a series.
        for reason in Refusal::REASONS {
            made.refusals.with_label_values(&[reason]);
        }
        Ok(made)
    }

    pub(super) fn requested(&self) {
        self.requests.inc();
    }

    pub(super) fn signed(&self) {
        self.signatures.inc();
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        self.refusals.with_label_values(&[refusal.reason()]).inc();
        match refusal.code() {
            tonic::Code::Unauthenticated => self.unauthenticated.inc(),
            tonic::Code::InvalidArgument => self.malformed.inc(),
            _ => {}
        }
    }

    pub(super) fn root_ends(&self, at: u64) {
        self.root_expiry.set(i64::try_from(at).unwrap_or(i64::MAX));
    }

    pub(super) fn serving_ends(&self, at: u64) {
        self.serving_expiry.set(i64::try_from(at).unwrap_or(i64::MAX));
    }

    /// What became of requests so far.
    pub(super) fn counts(&self) -> CaCounts {
        let families = self.refusals.collect();
        let samples = families.iter().flat_map(|family| family.get_metric());
        let by_reason = samples.filter_map(|sample| {
            let reason = sample.get_label().first()?.value();
            Some((reason.to_owned(), self.refusals.with_label_values(&[reason]).get()))
        });
        let by_reason = by_reason.filter(|(_, count)| *count > 0);
        CaCounts {
            requests: self.requests.get(),
            signatures: self.signatures.get(),
            refusals: by_reason.collect(),
        }
    }
}
