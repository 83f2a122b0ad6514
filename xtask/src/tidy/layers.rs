//! Which crate may depend on which.

use std::collections::BTreeSet;

use crate::cargo::Package;
use crate::tidy::Finding;

/// A crate, the crates of the workspace that it may use, and whether it is pure: no sockets, no clock, no runtime.
struct Layer {
    name: &'static str,
    below: &'static [&'static str],
    pure: bool,
}

/// Checks each crate against the table, and that the table knows each.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let place = package.folder().join("Cargo.toml").display().to_string();
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == package.name) else {
        return vec![Finding::new(
            place,
            format!("crate {} is in no layer; see xtask/src/tidy", package.name),
        )];
    };
    let allowed = layer.reach();
    let used = package.dependencies.iter().filter(|it| it.kind.as_deref() != Some("dev"));
    used.filter_map(|dependency| {
        let name = dependency.name.as_str();
        if dependency.path.is_some() && !allowed.contains(name) {
            return Some(Finding::new(&place, format!("{} must not depend on {name}", layer.name)));
        }
        let impure = layer.pure && IMPURE.contains(&name);
        impure.then(|| Finding::new(&place, format!("{} is pure and must not depend on {name}", layer.name)))
    })
    .collect()
}

impl Layer {
    /// All that is below it.
    fn reach(&self) -> BTreeSet<&'static str> {
        let mut reach = BTreeSet::new();
        let mut next = self.below.to_vec();
        while let Some(name) = next.pop() {
            if reach.insert(name) {
                next.extend(LAYERS.iter().filter(|it| it.name == name).flat_map(|it| it.below));
            }
        }
        reach
    }
}

/// Lowest first.
const LAYERS: &[Layer] = &[
    Layer { name: "identity", below: &[], pure: true },
    Layer { name: "authz", below: &["identity"], pure: true },
    Layer { name: "mesh", below: &["identity", "authz"], pure: false },
    Layer { name: "certs", below: &["identity"], pure: false },
    Layer { name: "hbone", below: &["identity", "certs"], pure: false },
    Layer { name: "cluster", below: &["mesh"], pure: false },
    Layer { name: "daemon", below: &[], pure: false },
    Layer { name: "ztunnel", below: &["cluster", "daemon", "hbone", "mesh"], pure: false },
    Layer { name: "waypoint", below: &["cluster", "daemon", "hbone", "mesh"], pure: false },
    Layer { name: "fuzz", below: &["ztunnel"], pure: false },
    Layer { name: "harness", below: &[], pure: false },
    Layer { name: "e2e", below: &["harness", "cluster", "hbone"], pure: false },
    Layer { name: "bench", below: &["ztunnel"], pure: false },
    Layer { name: "xtask", below: &["harness"], pure: false },
];

/// What reaches out of the process, or waits.
const IMPURE: &[&str] = &["getrandom", "nix", "notify", "socket2", "tokio"];
