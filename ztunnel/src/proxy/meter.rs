//! Reports that are told of each byte.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use daemon::logs::PolicyRef;
use daemon::metrics::ResponseFlag;
use hbone::tunnel::Meter;
use smallvec::SmallVec;

use super::view::ConnectionView;
use crate::telemetry::Report;

/// The reports of one connection: one, or two where both of its ends are on this node.
#[derive(Debug)]
pub(super) struct Metered {
    reports: RefCell<SmallVec<[Report; 1]>>,
}

impl Metered {
    pub(super) fn new(reports: impl IntoIterator<Item = Report>) -> Rc<Self> {
        Rc::new(Self { reports: RefCell::new(reports.into_iter().collect()) })
    }

    /// The connection failed: its reports end here.
    pub(super) fn failed(&self, flag: ResponseFlag, error: impl fmt::Display) {
        let text = error.to_string();
        for report in self.reports.take() {
            report.failed(flag, text.clone());
        }
    }

    /// A policy has decided about the connection since it was opened.
    pub(super) fn decided_by(&self, policy: Option<&PolicyRef>) {
        for report in &mut *self.reports.borrow_mut() {
            report.decided_by(policy.cloned());
        }
    }

    /// The connection broke off after it had come about.
    pub(super) fn broken(&self, error: &str) {
        for report in self.reports.take() {
            report.broken(error.to_owned());
        }
    }

    /// The connection, as it is shown: once from each side that is on this node.
    pub(super) fn views(&self) -> Vec<ConnectionView> {
        self.reports.borrow().iter().map(ConnectionView::from).collect()
    }
}

/// The reports of a connection whose source is at the tunnel's end: what comes out of the tunnel is what it sends.
#[derive(Debug)]
pub(super) struct Reversed(pub(super) Rc<Metered>);

impl Meter for Reversed {
    fn sent(&self, bytes: usize) {
        self.0.received(bytes);
    }

    fn received(&self, bytes: usize) {
        self.0.sent(bytes);
    }
}

impl Meter for Metered {
    fn sent(&self, bytes: usize) {
        let bytes = bytes.try_into().unwrap_or(u64::MAX);
        self.reports.borrow().iter().for_each(|report| report.sent(bytes));
    }

    fn received(&self, bytes: usize) {
        let bytes = bytes.try_into().unwrap_or(u64::MAX);
        self.reports.borrow().iter().for_each(|report| report.received(bytes));
    }
}
