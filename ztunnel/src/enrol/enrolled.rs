//! One pod that is enrolled: its capture, its sockets, and how they fare.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::SockProtocol;

use super::error::EnrolError;
use super::lease::Commands;
use super::state::{self, Memory, Record};
use super::udp::UdpLedger;
use super::upkeep::CHECK_PERIOD;
use super::{CapturedPod, Lease, LeaseSource, Pod, PodPhase, PodStatus, interfaces};
use crate::netlink::NetlinkSocket;
use crate::netns::{PodNetns, in_netns};
use crate::redirect::{
    Capture, CaptureOptions, CapturePhase, DNS_PORT, DnsOrigins, ListenError, Marks, PodListeners,
    PodSockets, SocketTuning,
};

/// What enrolling a pod takes, the same for all.
#[derive(Debug)]
pub(super) struct Means {
    /// Where pods are remembered.
    pub(super) state: Memory,
    /// The marks of the only pod; drawn anew for each of many.
    pub(super) marks: Option<Marks>,
    /// How sockets are made.
    pub(super) tuning: SocketTuning,
    /// Where leases report their end.
    pub(super) commands: Commands,
}

/// An enrolled pod. Dropping it closes its sockets and leaves its rules.
#[derive(Debug)]
pub(super) struct Enrolled {
    pub(super) pod: Arc<Pod>,
    pub(super) capture: Capture,
    pub(super) listeners: Arc<PodListeners>,
    sockets: PodSockets,
    dns_origins: Arc<DnsOrigins>,
    /// Becomes readable when anything about nftables changes in the namespace.
    pub(super) announcements: NetlinkSocket,
    /// Kept while capture is on, and for a moment longer.
    pub(super) lease: Option<Lease>,
    leases: LeaseSource,
    enrolment: u64,
    pub(super) problem: Option<String>,
    /// What the pod wants and does not get. It is captured nevertheless.
    refused: Option<String>,
    pub(super) repairs: u32,
    /// When the rules are to be looked at again.
    pub(super) check_at: Instant,
    /// Until then a redirected connection may still be on its way to a listener.
    settled_at: Option<Instant>,
    pub(super) udp: UdpLedger,
}

impl Enrolled {
    /// Captures the pod: a record of the intent, listeners, routes and rules, and a look whether it works. What was
    /// done is undone when a step fails, unless an earlier process had captured it: then it stays shut.
    pub(super) fn enrol(
        means: &Means,
        enrolment: u64,
        pod: &Pod,
        netns: Arc<PodNetns>,
        options: CaptureOptions,
    ) -> Result<Self, EnrolError> {
        check_addresses(&netns, &pod.addresses)?;
        let (options, refused) = interfaces::within(&netns, &pod.addresses, options);
        let marks = means.marks.map_or_else(Marks::random, Ok).map_err(EnrolError::Netlink)?;
        // Written first: where there is no room for it the pod is not touched, and a process that dies in the middle
        // leaves no rule that its successor knows nothing of.
        means.state.write(&record(pod, &netns, marks, &options, None))?;
        let captured = Self::capture(means, enrolment, pod, netns, marks, options);
        if captured.is_err() {
            // The first fault is the one to report.
            let _second_fault = means.state.forget(&pod.uid);
        }
        let mut this = captured?;
        this.refuse(refused);
        Ok(this)
    }

    /// What [`Self::enrol`] does to the pod. When a step fails it is as open as before, or less.
    fn capture(
        means: &Means,
        enrolment: u64,
        pod: &Pod,
        netns: Arc<PodNetns>,
        marks: Marks,
        options: CaptureOptions,
    ) -> Result<Self, EnrolError> {
        let sockets = OpenSockets::open(&netns, options.dns, &means.tuning)?;
        let capture = Capture::install(netns, marks, options)?;
        let this = Self::assemble(means, enrolment, pod.clone(), capture, sockets);
        let checked = this.capture.verify(&this.listeners).map_err(EnrolError::from);
        match checked.and_then(|()| this.remember(means)) {
            Ok(()) => Ok(this),
            Err(error) => {
                // The first fault is the one to report.
                let _second_fault = this.capture.abandon();
                Err(error)
            }
        }
    }

    /// Takes up a pod that an earlier process captured. Rules that are in force as recorded stay untouched, unless this
    /// build has others for it.
    pub(super) fn restore(
        means: &Means,
        enrolment: u64,
        record: Record,
        netns: Arc<PodNetns>,
    ) -> Result<Self, EnrolError> {
        let Record { pod, marks, options, phase, digest, made, .. } = record;
        let sockets = OpenSockets::open(&netns, options.dns, &means.tuning)?;
        let capture = match digest {
            Some(digest) => Capture::adopt(netns, marks, options, phase, digest),
            None => Capture::install(netns, marks, options)?,
        };
        let mut this = Self::assemble(means, enrolment, pod, capture, sockets);
        if digest.is_some() && made != Some(this.capture.made()) {
            this.look_at_udp();
            this.capture.repair()?;
            this.announcements.discard();
            this.remember(means)?;
        }
        this.check_now(means)?;
        Ok(this)
    }

    fn assemble(means: &Means, enrolment: u64, pod: Pod, capture: Capture, sockets: OpenSockets) -> Self {
        let OpenSockets { listeners, announcements, dns_origins } = sockets;
        // What it announced so far was our own doing.
        announcements.discard();
        let lease = Lease::new(pod.uid.clone(), enrolment, means.commands.clone());
        Self {
            pod: Arc::new(pod),
            sockets: PodSockets::new(capture.netns().clone(), capture.marks(), means.tuning),
            capture,
            listeners: Arc::new(listeners),
            dns_origins: Arc::new(dns_origins),
            announcements,
            leases: lease.source(),
            lease: Some(lease),
            enrolment,
            problem: None,
            refused: None,
            repairs: 0,
            check_at: Instant::now() + CHECK_PERIOD,
            settled_at: None,
            udp: UdpLedger::default(),
        }
    }

    /// What the proxy gets.
    pub(super) fn handed_over(&self) -> CapturedPod {
        CapturedPod {
            pod: self.pod.clone(),
            listeners: self.listeners.clone(),
            sockets: self.sockets.clone(),
            dns_origins: self.dns_origins.clone(),
            marks: self.capture.marks(),
            leases: self.leases.clone(),
        }
    }

    /// Notes what became known of the pod, and captures by other options. Where the pod holds the port for its DNS queries
    /// they go uncaptured, which is an error; all else is in force nevertheless. True when what it is refused changed.
    pub(super) fn update(
        &mut self,
        means: &Means,
        pod: &Pod,
        options: &CaptureOptions,
    ) -> Result<bool, EnrolError> {
        let (mut options, refused) =
            interfaces::within(self.capture.netns(), &pod.addresses, options.clone());
        let is_news = self.refuse(refused);
        let is_held = options.dns && self.listeners.dns.udp.is_empty();
        options.dns &= !is_held;
        let is_changed = *self.capture.options() != options;
        if is_changed {
            self.look_at_udp();
            self.capture.update(options)?;
            self.announcements.discard();
        }
        if is_changed || *self.pod != *pod {
            self.pod = Arc::new(pod.clone());
            self.remember(means)?;
        }
        if is_held { Err(ListenError::PortHeld { port: DNS_PORT }.into()) } else { Ok(is_news) }
    }

    /// Notes what the pod wants and does not get; true when that is news.
    fn refuse(&mut self, refused: Option<String>) -> bool {
        let is_news = self.refused != refused;
        if let (true, Some(problem)) = (is_news, &refused) {
            tracing::warn!(pod = %self.pod.uid, name = self.pod.name, problem, "pod is not captured as it wants");
        }
        self.refused = refused;
        is_news
    }

    /// Redirects nothing new from now on.
    pub(super) fn drain(&mut self, means: &Means) -> Result<(), EnrolError> {
        self.look_at_udp();
        self.capture.drain()?;
        self.announcements.discard();
        self.settled_at = Some(Instant::now() + SETTLE);
        self.remember(means)
    }

    /// Redirects again. False when the last connection has ended meanwhile: then it is too late.
    pub(super) fn resume(&mut self, means: &Means) -> Result<bool, EnrolError> {
        if self.lease.is_none() {
            self.lease = self.leases.take();
        }
        if self.lease.is_none() {
            return Ok(false);
        }
        self.settled_at = None;
        self.look_at_udp();
        self.capture.resume()?;
        self.announcements.discard();
        self.remember(means)?;
        Ok(true)
    }

    /// Takes everything of ours out of the namespace. One that is not mounted any more is left to die instead.
    pub(super) fn remove(&self, means: &Means) -> Result<(), EnrolError> {
        if self.is_alive() {
            self.capture.remove()?;
        }
        Ok(means.state.forget(&self.pod.uid)?)
    }

    /// Lets go of the pod once nothing can be on its way to a listener any more; true when its last connection has
    /// ended.
    pub(super) fn is_drained(&mut self, now: Instant) -> bool {
        if self.settled_at.is_some_and(|at| at <= now) {
            self.lease = None;
        }
        self.is_draining() && self.lease.is_none() && self.leases.take().is_none()
    }

    /// Whether the pod's namespace is still mounted where it was.
    pub(super) fn is_alive(&self) -> bool {
        self.capture.netns().is_mounted()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.capture.phase() == CapturePhase::Draining
    }

    pub(super) const fn enrolment(&self) -> u64 {
        self.enrolment
    }

    pub(super) fn inode(&self) -> u64 {
        self.capture.netns().inode()
    }

    pub(super) fn note_problem(&mut self, problem: String) {
        self.problem = Some(problem);
    }

    pub(super) fn status(&self) -> PodStatus {
        let phase = match (self.is_draining(), &self.problem) {
            (true, _) => PodPhase::Draining,
            (false, Some(_)) => PodPhase::Failed,
            (false, None) => PodPhase::Captured,
        };
        let pod = (*self.pod).clone();
        let problem = self.problem.as_ref().or(self.refused.as_ref()).cloned();
        PodStatus { pod, phase, problem, repairs: self.repairs }
    }

    pub(super) fn remember(&self, means: &Means) -> Result<(), EnrolError> {
        Ok(means.state.write(&record(
            &self.pod,
            self.capture.netns(),
            self.capture.marks(),
            self.capture.options(),
            Some(&self.capture),
        ))?)
    }
}

/// What is open inside a pod's namespace: all of it before the first rule, for want of a descriptor is found then.
#[derive(Debug)]
struct OpenSockets {
    listeners: PodListeners,
    announcements: NetlinkSocket,
    dns_origins: DnsOrigins,
}

impl OpenSockets {
    fn open(netns: &Arc<PodNetns>, dns: bool, tuning: &SocketTuning) -> Result<Self, EnrolError> {
        let listeners = PodListeners::open(netns, dns, tuning)?;
        let subscribe = || NetlinkSocket::subscribed(SockProtocol::NetlinkNetFilter, NFTABLES_GROUP);
        let announcements = in_netns(netns, subscribe).map_err(EnrolError::Netlink)?;
        let dns_origins = DnsOrigins::open(netns).map_err(EnrolError::Netlink)?;
        Ok(Self { listeners, announcements, dns_origins })
    }
}

/// The record of a pod; without `capture`, of one that is about to be captured.
fn record(
    pod: &Pod,
    netns: &PodNetns,
    marks: Marks,
    options: &CaptureOptions,
    capture: Option<&Capture>,
) -> Record {
    Record {
        version: state::VERSION,
        pod: pod.clone(),
        netns_path: netns.path().map(PathBuf::from),
        netns_inode: netns.inode(),
        netns_cookie: netns.cookie(),
        marks,
        options: options.clone(),
        phase: capture.map_or(CapturePhase::Capturing, Capture::phase),
        digest: capture.map(Capture::digest),
        made: capture.map(Capture::made),
    }
}

/// A namespace that holds none of the pod's addresses is some other pod's.
fn check_addresses(netns: &PodNetns, addresses: &[IpAddr]) -> Result<(), EnrolError> {
    match netns.holds_any(addresses).map_err(EnrolError::Netlink)? {
        true => Ok(()),
        false => Err(EnrolError::AddressMissing),
    }
}

/// `NFNLGRP_NFTABLES` as a bit.
const NFTABLES_GROUP: u32 = 1 << 6;
/// How long after the last redirection a connection may still be on its way to a listener: one retransmitted SYN.
const SETTLE: Duration = Duration::from_secs(1);
