//! Another mesh, by a command of the caller's.

use std::time::Duration;

use harness::{Foreign, Lab, LabError, Pod};

/// Runs the command and waits until it says `ready`.
pub(super) fn start(
    command: &str,
    lab: &Lab,
    pods: &[(&str, Pod)],
    scale: bool,
) -> Result<Foreign, LabError> {
    let mut variables = vec![("BENCH_MANIFESTS".to_owned(), lab.manifests().display().to_string())];
    variables.extend(scale.then(|| ("BENCH_SCALE".to_owned(), "1".to_owned())));
    for (number, node) in lab.nodes().iter().enumerate() {
        variables.push((format!("BENCH_NODE{}_NETNS", number + 1), node.netns().name().to_owned()));
        variables.push((format!("BENCH_NODE{}_IP", number + 1), node.ip().to_string()));
    }
    for (role, pod) in pods {
        variables.extend(Foreign::variables(&format!("BENCH_POD_{role}"), pod));
    }
    Foreign::start(command, &variables, PATIENCE)
}

/// How long a peer may take to be ready: it may have 100,000 workloads to take in.
const PATIENCE: Duration = Duration::from_secs(180);
