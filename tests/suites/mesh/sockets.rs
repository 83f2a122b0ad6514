//! How a daemon's connections are set, as the kernel has them.

use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use e2e::calls::{opened, shop};
use harness::{Daemon, LabError, Mesh, Stack, serve};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

#[test]
fn connections_of_ours_send_at_once_and_miss_a_peer_that_is_gone() -> Result<(), LabError> {
    [Stack::V4, Stack::V6].into_iter().try_for_each(tuned)
}

fn tuned(stack: Stack) -> Result<(), LabError> {
    let mesh = Mesh::up(&shop(stack))?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (batch, printer) = (mesh.pod("legacy/batch"), mesh.pod("legacy/printer"));
    let [echo, outside] = [server.serve(0, serve::echo())?, printer.serve(0, serve::echo())?];
    // By tunnel, out of the mesh, and into it.
    let live = [
        opened(&client, server.at(echo.port()))?,
        opened(&client, printer.at(outside.port()))?,
        opened(&batch, server.at(echo.port()))?,
    ];
    for (node, ends) in [
        ("node1", [End::Own(15001), End::Peers(15008), End::Peers(outside.port())]),
        ("node2", [End::Own(15008), End::Own(15006), End::Peers(echo.port())]),
    ] {
        let sockets = connections(mesh.daemon(node))?;
        for end in ends {
            let of_it: Vec<_> = sockets.iter().filter(|(own, peer, _)| end.is(own, peer)).collect();
            assert!(!of_it.is_empty(), "{node} has no {end:?}: {sockets:?}");
            for (own, peer, socket) in of_it {
                let what = format!("{own} - {peer} on {node}");
                assert!(socket.tcp_nodelay()?, "{what}");
                assert!(socket.keepalive()?, "{what}");
                assert_eq!(socket.tcp_keepalive_time()?, SILENCE, "{what}");
                assert_eq!(socket.tcp_keepalive_interval()?, SILENCE, "{what}");
                assert_eq!(socket.tcp_keepalive_retries()?, 9, "{what}");
            }
        }
    }
    drop(live);
    Ok(())
}

/// Which connections: by the port at one of their ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Own(u16),
    Peers(u16),
}

impl End {
    const fn is(self, own: &SocketAddr, peer: &SocketAddr) -> bool {
        match self {
            Self::Own(port) => own.port() == port,
            Self::Peers(port) => peer.port() == port,
        }
    }
}

/// The TCP connections that a daemon has open, each as a socket that it shares.
fn connections(daemon: &Daemon) -> Result<Vec<(SocketAddr, SocketAddr, Socket)>, LabError> {
    let pid = daemon.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let pid = pid.ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(std::io::Error::from)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))? {
        let entry = entry?;
        let is_socket =
            fs::read_link(entry.path()).is_ok_and(|it| it.to_string_lossy().starts_with("socket:"));
        let Some(number) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else { continue };
        // It may have been closed since it was listed.
        let Ok(shared) = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) else { continue };
        if !is_socket {
            continue;
        }
        let socket = Socket::from(shared);
        let addresses =
            [socket.local_addr(), socket.peer_addr()].map(|it| it.ok().and_then(|it| it.as_socket()));
        if let ([Some(own), Some(peer)], Ok(socket2::Type::STREAM)) = (addresses, socket.r#type()) {
            found.push((own, peer, socket));
        }
    }
    Ok(found)
}

/// Before a probe, and between probes.
const SILENCE: Duration = Duration::from_secs(180);
