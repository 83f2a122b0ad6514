//! Bytes between two pods of one node.

use std::rc::Rc;

use hbone::relay;
use hbone::socket::Socket;
use hbone::tunnel::Buffers;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::app::{BULK, MESSAGE, Uncounted, carry, connection, runtime};

/// Two applications that are joined.
struct Pair {
    runtime: Runtime,
    tasks: LocalSet,
    client: Socket,
    server: Socket,
}

/// A piece of a transfer that goes on.
pub(super) fn bulk() -> Box<dyn FnMut()> {
    let (pair, bytes, mut room) = (Pair::new(), vec![7; BULK], vec![0; BULK]);
    let mut once = move || {
        pair.tasks.block_on(&pair.runtime, carry(&pair.client, &pair.server, &bytes, &mut room));
    };
    // Until it is known to be one.
    (0..50).for_each(|_| once());
    Box::new(once)
}

/// A request and its answer.
pub(super) fn message() -> Box<dyn FnMut()> {
    let (pair, bytes, mut room) = (Pair::new(), [7; MESSAGE], [0; MESSAGE]);
    Box::new(move || {
        pair.tasks.block_on(&pair.runtime, async {
            carry(&pair.client, &pair.server, &bytes, &mut room).await;
            carry(&pair.server, &pair.client, &bytes, &mut room).await;
        });
    })
}

impl Pair {
    fn new() -> Self {
        let (runtime, tasks) = (runtime(), LocalSet::new());
        let (client, server) = tasks.block_on(&runtime, async {
            let ((client, near), (far, server)) = (connection(), connection());
            let joined = async move { relay::join(near, far, Buffers::new(), Rc::new(Uncounted)).await };
            drop(tokio::task::spawn_local(joined));
            (client, server)
        });
        Self { runtime, tasks, client, server }
    }
}
