//! The queue in front of standard output, and the thread behind it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts};

use crate::logs::{Format, Record};

/// Where lines go. Clones share the queue. A full queue drops and counts; nobody waits.
#[derive(Clone, Debug)]
pub struct Output {
    queue: SyncSender<Message>,
    lost: IntCounterVec,
    lost_full: IntCounter,
}

enum Message {
    Flush(SyncSender<()>),
    Line(Box<[u8]>),
    Record(Box<Record>),
}

/// The thread's side.
struct Writer<W> {
    queue: Receiver<Message>,
    sink: W,
    format: Format,
    batch: String,
    /// The sink took a part of a line and failed: the next line must not be glued to it.
    mid_line: bool,
    lost: IntCounter,
}

impl Output {
    /// Lines go to standard output.
    ///
    /// # Errors
    /// When standard output cannot be duplicated or the thread cannot be started.
    pub fn stdout(format: Format) -> io::Result<Self> {
        // Not `Stdout`: it looks for line ends and holds a lock that a panic message would wait for.
        let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Self::to(stdout, format)
    }

    /// Lines go to `sink`, which may stall or fail.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(sink: impl Write + Send + 'static, format: Format) -> io::Result<Self> {
        let (sender, queue) = sync_channel(QUEUE);
        let lost = IntCounterVec::new(
            Opts::new(
                "ambient_log_lines_lost_total",
                "Log lines and access records that were dropped, by reason: the queue was full, or writing failed.",
            ),
            &["reason"],
        )
        .expect("the metric's description is valid");
        let writer = Writer {
            queue,
            sink,
            format,
            batch: String::new(),
            mid_line: false,
            lost: lost.with_label_values(&["write"]),
        };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        let lost_full = lost.with_label_values(&["full"]);
        Ok(Self { queue: sender, lost, lost_full })
    }

    /// Queues one line, which ends with a newline.
    pub fn line(&self, line: &[u8]) {
        self.send(Message::Line(line.into()));
    }

    /// Waits until everything queued so far is written, for `within` at most; says whether it was.
    pub fn flush(&self, within: Duration) -> bool {
        let (done, written) = sync_channel(1);
        // A full queue means a stalled sink: nothing to wait for.
        self.queue.try_send(Message::Flush(done)).is_ok() && written.recv_timeout(within).is_ok()
    }

    /// The counter of lost lines, to be registered.
    pub fn lost(&self) -> IntCounterVec {
        self.lost.clone()
    }

    pub(super) fn record(&self, record: Record) {
        self.send(Message::Record(Box::new(record)));
    }

    fn send(&self, message: Message) {
        match self.queue.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost_full.inc(),
        }
    }
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        while let Ok(first) = self.queue.recv() {
            // Who logs wakes this thread at most once a pause, whatever the rate.
            let flush = matches!(first, Message::Flush(_));
            self.take(first);
            if !flush {
                thread::sleep(PAUSE);
            }
            loop {
                match self.queue.try_recv() {
                    Ok(message) => self.take(message),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return self.write(),
                }
            }
            self.write();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Flush(done) => {
                self.write();
                // Who asked may have given up.
                let _ = done.send(());
            }
            Message::Line(line) => self.batch.push_str(&String::from_utf8_lossy(&line)),
            Message::Record(record) => self.format.write(&record, &mut self.batch),
        }
        if self.batch.len() >= BATCH {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.mid_line {
            self.batch.insert(0, '\n');
        }
        let written = write_some(&mut self.sink, self.batch.as_bytes());
        let rest = &self.batch.as_bytes()[written..];
        if rest.is_empty() {
            self.mid_line = false;
        } else {
            let lines = rest.iter().filter(|byte| **byte == b'\n').count();
            self.lost.inc_by(u64::try_from(lines).unwrap_or(u64::MAX));
            let last = written.checked_sub(1).map(|last| self.batch.as_bytes()[last]);
            self.mid_line = last.map_or(self.mid_line, |last| last != b'\n');
        }
        self.batch.clear();
    }
}

/// Writes as much as the sink takes before it fails; waits while it stalls.
fn write_some(sink: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match sink.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody made our standard output non-blocking: only this thread waits.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    written
}

/// Lines that may wait: at 100k connections a second, what a pause of the writer gathers, with room to spare.
const QUEUE: usize = 8192;

/// How long lines gather before they are written.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes written at once.
const BATCH: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_stalled_sink_makes_nobody_wait_and_the_dropped_lines_are_counted() {
        let (release, gate) = channel::<()>();
        let output = Output::to(Stalled(gate), Format::Text).unwrap();
        // More than the queue and a batch of the writer hold.
        let lines = 4 * QUEUE + BATCH;
        for _ in 0..lines {
            output.line(b"x\n");
        }
        assert!(output.lost.with_label_values(&["full"]).get() > 0);
        assert!(!output.flush(Duration::from_millis(1)), "nothing is written");
        drop(release);
    }

    #[test]
    fn a_full_disk_loses_lines_and_the_next_line_starts_afresh() {
        let disk = SharedDisk(Arc::new(Mutex::new(Disk { free: 7, held: Vec::new() })));
        let output = Output::to(disk.clone(), Format::Text).unwrap();
        output.line(b"first\n");
        output.line(b"second\n");
        output.line(b"third\n");
        assert!(output.flush(Duration::from_secs(10)));
        assert_eq!(output.lost.with_label_values(&["write"]).get(), 2);

        disk.0.lock().unwrap().free = 100;
        output.line(b"fourth\n");
        assert!(output.flush(Duration::from_secs(10)));
        assert_eq!(String::from_utf8_lossy(&disk.0.lock().unwrap().held), "first\ns\nfourth\n");
    }

    #[test]
    fn a_reader_that_went_away_is_survived() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = Output::to(writer, Format::Text).unwrap();
        output.line(b"x\n");
        assert!(output.flush(Duration::from_secs(10)));
        assert_eq!(output.lost.with_label_values(&["write"]).get(), 1);
    }

    /// Takes nothing until the other end of the channel is gone.
    struct Stalled(Receiver<()>);

    impl Write for Stalled {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[derive(Clone)]
    struct SharedDisk(Arc<Mutex<Disk>>);

    struct Disk {
        free: usize,
        held: Vec<u8>,
    }

    impl Write for SharedDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let fits = bytes.len().min(disk.free);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.free -= fits;
            disk.held.extend_from_slice(&bytes[..fits]);
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
