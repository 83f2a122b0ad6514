//! Ctrl-C: nothing is left behind.

use std::process::exit;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::XtaskError;

/// From now on, SIGINT and SIGTERM end the program after what its labs have made is removed.
pub(crate) fn clean_up_on_signals() -> Result<(), XtaskError> {
    let (ready, wait) = channel();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let Some(code) = wait_for_signal(&ready) else { return };
        eprintln!("\ncleaning up");
        harness::sweep(true);
        end(code)
    })?;
    wait_until(&wait)
}

/// Waits for SIGINT or SIGTERM; hands out the exit code that says so.
fn wait_for_signal(ready: &std::sync::mpsc::Sender<std::io::Result<()>>) -> Option<i32> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let heard = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let _main_is_gone = ready.send(Ok(()));
            tokio::select! {
                _ = interrupt.recv() => Ok(130),
                _ = terminate.recv() => Ok(143),
            }
        })
    });
    heard.map_err(|error| ready.send(Err(error))).ok()
}

fn wait_until(ready: &Receiver<std::io::Result<()>>) -> Result<(), XtaskError> {
    match ready.recv() {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Ok(()),
    }
}

#[expect(clippy::disallowed_methods, reason = "main waits for processes that are gone")]
fn end(code: i32) -> ! {
    exit(code)
}
