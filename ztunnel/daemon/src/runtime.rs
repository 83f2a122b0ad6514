//! The runtime of everything that is not the byte path.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// A runtime on the calling thread, for admin, watches, certificates and metrics.
///
/// # Errors
/// When the system grants no event queue.
pub fn control() -> io::Result<Runtime> {
    // Blocking calls are file reads and DNS look-ups of the control side: few, and never many at once.
    Builder::new_current_thread().enable_all().max_blocking_threads(4).thread_name("control").build()
}
