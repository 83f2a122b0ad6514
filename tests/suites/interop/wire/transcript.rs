//! What was said on a connection, in a text that a person can read.

use std::collections::VecDeque;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use harness::LabError;

use super::end::{Act, Source};

/// One conversation: lines `> hex` are the peer's bytes as they came, `< hex` ours, `= text` what the peer did. Lines
/// with `#` before them say what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transcript {
    pub(crate) lines: Vec<Said>,
    pub(crate) account: Vec<String>,
}

/// A piece of what was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Peer(Vec<u8>),
    Us(Vec<u8>),
}

/// The peer of a transcript: says what it said, in pieces of any size.
pub(crate) struct Replayed {
    said: VecDeque<Vec<u8>>,
    pub(crate) ours: Vec<u8>,
}

impl Transcript {
    pub(crate) fn read(name: &str) -> Result<Self, LabError> {
        let path = path(name);
        let text =
            fs::read_to_string(&path).map_err(|source| LabError::File { path: path.clone(), source })?;
        let wrong =
            |line: &str| LabError::Unreadable { what: path.display().to_string(), problem: line.to_owned() };
        let mut transcript = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (mark, rest) = line.split_at_checked(2).ok_or_else(|| wrong(line))?;
            match mark {
                "> " => transcript.lines.push(Said::Peer(unhex(rest).ok_or_else(|| wrong(line))?)),
                "< " => transcript.lines.push(Said::Us(unhex(rest).ok_or_else(|| wrong(line))?)),
                "= " => transcript.account.push(rest.to_owned()),
                _ => return Err(wrong(line)),
            }
        }
        Ok(transcript)
    }

    /// Writes it, under a head that says what it is.
    pub(crate) fn write(&self, name: &str, head: &str) -> Result<(), LabError> {
        let mut text: String = head.lines().map(|line| format!("# {line}\n")).collect();
        for line in &self.account {
            writeln!(text, "= {line}").expect("writing to a String cannot fail");
        }
        for line in &self.lines {
            let (mark, bytes) = match line {
                Said::Peer(bytes) => ('>', bytes),
                Said::Us(bytes) => ('<', bytes),
            };
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{mark} {hex}").expect("writing to a String cannot fail");
        }
        let path = path(name);
        fs::write(&path, text).map_err(|source| LabError::File { path, source })
    }

    pub(crate) fn peers(&self) -> Vec<u8> {
        self.bytes(|said| if let Said::Peer(bytes) = said { Some(bytes) } else { None })
    }

    pub(crate) fn ours(&self) -> Vec<u8> {
        self.bytes(|said| if let Said::Us(bytes) = said { Some(bytes) } else { None })
    }

    fn bytes(&self, of: impl Fn(&Said) -> Option<&Vec<u8>>) -> Vec<u8> {
        self.lines.iter().filter_map(of).flatten().copied().collect()
    }
}

impl Replayed {
    /// As it came.
    pub(crate) fn as_it_came(transcript: &Transcript) -> Self {
        let peers = |said: &Said| if let Said::Peer(bytes) = said { Some(bytes.clone()) } else { None };
        Self { said: transcript.lines.iter().filter_map(peers).collect(), ours: Vec::new() }
    }

    /// Byte by byte.
    pub(crate) fn byte_by_byte(transcript: &Transcript) -> Self {
        Self { said: transcript.peers().chunks(1).map(<[u8]>::to_vec).collect(), ours: Vec::new() }
    }
}

impl Source for Replayed {
    fn read(&mut self) -> Result<Option<Vec<u8>>, LabError> {
        Ok(self.said.pop_front())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LabError> {
        self.ours.extend_from_slice(bytes);
        Ok(())
    }

    fn act(&mut self, _act: Act) -> Result<(), LabError> {
        Ok(())
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts").join(format!("{name}.txt"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(byte).collect())?
}
