//! Ours against another implementation of HBONE, and what was recorded of such meetings.
//!
//! The tests `with_peer` need one: a command of the caller's, `cargo xtask test interop --peer "<command>"`. The shell
//! runs it once the nodes and pods of a test stand, and it finds in its environment:
//! - `INTEROP_NODE_NAME`, `INTEROP_NODE_NETNS`, `INTEROP_NODE_IP`: the node that it serves;
//! - `INTEROP_PODS`: how many pods of that node it is to capture; of each, from `INTEROP_POD_1_` on: `.._NAME`,
//!   `.._NAMESPACE`, `.._ACCOUNT`, `.._UID`, `.._IP` (with commas), `.._NETNS`, `.._NODE`;
//! - `INTEROP_MANIFESTS`: a folder of Kubernetes manifests, JSON in files named `.yaml`, of the whole mesh. They never
//!   change, and differ from ours where one side is to be deceived;
//! - `INTEROP_CA_ADDRESS`, `INTEROP_CA_NAME`, `INTEROP_CA_ROOTS`, `INTEROP_CA_TOKEN`: where Istio's certificate service is,
//!   the name in its server's certificate, the file of its roots, and the file of the bearer token to present.
//!
//! Namespaces are mounted in /run/netns. It prints a line `ready` once the pods are captured. Told `upgrade` by a line
//! on its standard input, it has another daemon take over and the one before drain, and says `ready` again once the new
//! one serves. SIGTERM to its process group ends it.
//!
//! The tests `replay` need nothing: they give what a peer said, byte for byte, to our codec. `--record` writes it anew.

mod replay;
mod wire;
mod with_peer;
mod world;
