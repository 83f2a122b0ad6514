//! The daemon's own log lines; a test of its own, since a process has one subscriber.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use daemon::logs::{Format, LevelError, Output, install};

#[test]
fn lines_below_the_level_are_not_written_and_the_level_changes_at_run_time() {
    let (sender, written) = channel();
    let output = Output::to(Lines(sender), Format::Json).unwrap();
    let level = install(output.clone(), Format::Json, "warn").unwrap();

    tracing::info!("unseen");
    tracing::warn!(pod = "cart-1", "seen");
    let line = only(&output, &written);
    assert_eq!((line["message"].as_str(), line["pod"].as_str()), (Some("seen"), Some("cart-1")));
    assert_eq!(line["level"], "WARN");

    level.set("log_level=debug,info").unwrap();
    tracing::debug!("seen too");
    assert_eq!(only(&output, &written)["message"], "seen too");

    assert!(matches!(level.set("loud"), Err(LevelError::Parse { .. })));
    assert_eq!(level.current(), "log_level=debug,info");
    level.reset().unwrap();
    assert_eq!(level.current(), "warn");
    assert!(matches!(install(output, Format::Json, "info"), Err(LevelError::Installed(_))));
}

/// The only line that was written since the last time.
fn only(output: &Output, written: &Receiver<String>) -> serde_json::Value {
    assert!(output.flush(Duration::from_secs(10)));
    let text: String = written.try_iter().collect();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// Sends each write on.
struct Lines(Sender<String>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
