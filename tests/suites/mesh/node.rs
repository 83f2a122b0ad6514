//! What the node has of its own, which no mesh touches.

use std::time::Duration;

use e2e::calls::{echoed, opened, shop};
use harness::{Lab, LabError, Mesh, MeshOptions, Node, Stack, WIRE_V4, WIRE_V6, eventually, serve};

use crate::state_folder::dataplane_mode;

#[test]
fn the_nodes_own_rules_routes_and_settings_are_the_same_before_during_and_after_a_mesh()
-> Result<(), LabError> {
    let lab = Lab::up(&shop(Stack::Dual))?;
    lab.nodes().iter().try_for_each(furnish)?;
    let before = lab.nodes().iter().map(state).collect::<Result<Vec<_>, _>>()?;
    let mesh = Mesh::on(lab, &MeshOptions::default())?;
    let unchanged = |when: &str| {
        for (node, before) in mesh.nodes().iter().zip(&before) {
            for (now, then) in state(node)?.iter().zip(before) {
                assert_eq!(now, then, "{} {when}", node.name());
            }
        }
        Ok::<_, LabError>(())
    };
    unchanged("with captured pods")?;
    let (client, batch) = (mesh.pod("shop/client"), mesh.pod("legacy/batch"));
    let targets = ["shop/server", "shop/near", "legacy/printer"].map(|name| mesh.pod(name));
    let _echoes = targets.each_ref().map(|target| target.serve(8080, serve::echo()));
    let _outside = mesh.serve_outside(8080, serve::echo())?;
    let mut live = Vec::new();
    for ip in targets.iter().flat_map(|target| target.ips().iter().copied()).chain([WIRE_V4, WIRE_V6]) {
        for from in [&client, &batch] {
            echoed(from, (ip, 8080).into(), b"on every path")?;
            live.push(opened(from, (ip, 8080).into())?);
        }
    }
    unchanged("with connections on every path")?;
    drop(live);
    mesh.patch("Pod", "shop", "client", &dataplane_mode("none"))?;
    eventually("the pod is let go of", || Ok(mesh.daemon("node1").phase(&client)?.is_none().then_some(())))?;
    unchanged("with a pod that has left")?;
    mesh.daemon("node1").kill()?;
    mesh.daemon("node2").terminate(Duration::from_secs(10))?;
    unchanged("without daemons")
}

/// What others have put on a node: its network plugin, and whoever balances Services.
fn furnish(node: &Node) -> Result<(), LabError> {
    [
        "nft add table inet other",
        "nft add chain inet other in '{ type filter hook input priority 0; policy accept; }'",
        "nft add rule inet other in tcp dport 15001 accept",
        "nft add chain inet other nat '{ type nat hook prerouting priority -100; }'",
        "nft add rule inet other nat ip daddr 10.96.77.1 dnat ip to 10.244.1.77",
        "ip rule add priority 32000 fwmark 0x4000/0x4000 lookup 77",
        "ip -6 rule add priority 32000 fwmark 0x4000/0x4000 lookup 77",
        "ip route add 192.0.2.0/24 dev eth0 table 77",
        "ip route add unreachable 198.51.100.0/24 table 100",
    ]
    .iter()
    .try_for_each(|command| node.sh(command).map(drop))
}

/// All that capture could change on a node.
fn state(node: &Node) -> Result<Vec<String>, LabError> {
    [
        "nft -a list ruleset",
        "ip rule",
        "ip -6 rule",
        "ip route show table all",
        "ip -6 route show table all",
        "ip -o addr",
        "sysctl -a -r '^net[.]ipv[46][.]conf[.]'",
    ]
    .iter()
    .map(|command| node.sh(command))
    .collect()
}
