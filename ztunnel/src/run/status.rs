//! Tells the other nodes which pods this one captures.

use certs::describe;
use cluster::StatusFolder;
use daemon::ready::ReadyTask;
use tokio::sync::watch;

use crate::config::Config;
use crate::enrol::{PodPhase, PodStatus};
/// Keeps this node's file in the shared folder as it should be. Enrolment is ready once it has first told.
pub(super) fn report(
    config: &Config,
    mut told: watch::Receiver<Option<Vec<PodStatus>>>,
    ready: ReadyTask,
) -> impl Future<Output = ()> + Send + 'static {
    let (folder, node) = (StatusFolder::new(config.source.status.clone()), config.node.clone());
    let mut ready = Some(ready);
    async move {
        loop {
            let captured: Option<Vec<String>> = told.borrow_and_update().as_ref().map(|pods| {
                let captured = pods.iter().filter(|pod| pod.phase == PodPhase::Captured);
                captured.map(|pod| pod.pod.uid.to_string()).collect()
            });
            if let Some(captured) = captured {
                if let Err(error) = folder.report(&node, captured.iter().map(String::as_str)) {
                    tracing::error!(
                        error = describe(&error),
                        "captured pods cannot be reported to other nodes"
                    );
                } else if let Some(ready) = ready.take() {
                    ready.done();
                }
            }
            if told.changed().await.is_err() {
                return;
            }
        }
    }
}
