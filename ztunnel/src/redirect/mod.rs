//! Capture of a pod's connections, by rules and routes inside the pod's own network namespace.
//!
//! Nothing is set on the host. Policy routing comes first, then one nftables transaction; both are undone together.
//! Rules match the first SYN of a connection only, so that what was open before capture began stays as it is.

mod capture;
mod congestion;
mod conntrack;
mod digest;
mod listeners;
mod listening;
mod marks;
mod nft;
mod options;
mod own;
mod ports;
mod routing;
mod rules;
mod sockets;
mod udp;
mod uplinks;

pub use capture::{Capture, CaptureError, CapturePhase, CaptureProblem};
pub use congestion::CongestionControl;
pub use conntrack::DnsOrigins;
pub use digest::{RulesDigest, RulesetDigest};
pub use listeners::{DnsListeners, ListenError, PodListeners, listen_for_tunnels};
pub use marks::Marks;
pub use nft::NftError;
pub use options::{CaptureOptions, Exclusions, InterfaceName, InvalidInterfaceName, UdpRule};
pub use own::OwnSockets;
pub use ports::{DNS_PORT, HBONE_PORT, INBOUND_PORT, OUTBOUND_PORT};
pub use routing::{Family, RoutingError};
pub use sockets::{PodSockets, SocketTuning, canonical, original_destination};
pub use udp::{Datagrams, UdpCount};
pub use uplinks::{Uplink, Uplinks};
