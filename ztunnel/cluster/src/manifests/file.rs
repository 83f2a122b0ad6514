//! One file of manifests: what was read of it, and what stays in force while it is broken.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::path::Path;

use foldhash::quality::RandomState;
use smallvec::SmallVec;

use super::decode::Fault;
use super::document::{Document, split};
use super::tree::{Lines, Tree};
use super::{Problem, kinds};
use crate::objects::{Object, ObjectRef, Shared};

/// What reading one file may use of reading others.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The same for all reads of a file: digests are compared.
    hasher: RandomState,
    pub(super) shared: Shared,
}

/// What is known of a file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) chunks: Vec<Chunk>,
    pub(super) problems: Vec<Problem>,
}

/// The objects of one document.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Of the document's text, if all of it could be read: as long as it is the same, it is not read again.
    digest: Option<NonZeroU64>,
    /// The line that it starts on.
    pub(super) line: u64,
    pub(super) objects: SmallVec<[Named; 1]>,
}

/// An object, and where it starts.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) reference: ObjectRef,
    pub(super) object: Object,
    /// Lines after the document's first.
    below: u64,
}

impl File {
    /// Reads a file that was read as `self` before. An object whose document is broken stays as it was. While it cannot
    /// be told which object a broken document is, all objects stay that no other document names.
    pub(super) fn reread(&self, path: &Path, text: &str, memory: &mut Memory) -> Self {
        let known = self.chunks.iter().filter_map(|chunk| Some((chunk.digest?, chunk))).collect();
        let next = Self::default();
        let mut reading =
            Reading { before: self, known, path, next, memory, kept: Vec::new(), keep_all: false };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if path.extension().is_some_and(|extension| extension == "json") {
            // JSON is YAML but for tabs, which it has between tokens only.
            let text = text.replace('\t', " ");
            reading.document(Document { line: 1, text: &text });
        } else {
            for document in split(text) {
                reading.document(document);
            }
        }
        reading.finish()
    }

    /// Nothing of it can be read: everything stays as it was.
    pub(super) fn unreadable(&self, path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot be read: {error}");
        let problem = Problem { file: path.into(), line: 0, object: None, field: String::new(), message };
        Self { chunks: self.chunks.clone(), problems: vec![problem] }
    }

    /// Its objects, and the line that each starts on.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Named, u64)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.objects.iter().map(|named| (named, chunk.line + named.below)))
    }
}

/// The objects of a document. Where something is wrong, it is read again for the lines.
fn objects(document: Document<'_>) -> Result<Vec<kinds::Read>, Fault> {
    let read = |lines| {
        let mut read = Vec::new();
        if let Some(tree) = Tree::parse(document.text, lines)? {
            kinds::read(&tree, &mut read);
        }
        Ok(read)
    };
    match read(Lines::Unknown) {
        Ok(sound) if sound.iter().all(|read| read.object.is_ok()) => Ok(sound),
        Ok(_) | Err(_) => read(Lines::From(document.line)),
    }
}

struct Reading<'a> {
    before: &'a File,
    /// Its documents by their digest.
    known: HashMap<NonZeroU64, &'a Chunk>,
    memory: &'a mut Memory,
    path: &'a Path,
    next: File,
    /// Broken objects that are known by name.
    kept: Vec<ObjectRef>,
    keep_all: bool,
}

impl Reading<'_> {
    fn document(&mut self, document: Document<'_>) {
        // Of none, nothing is known: then it is read again.
        let digest = NonZeroU64::new(self.memory.hasher.hash_one(document.text));
        if let Some(same) = digest.and_then(|digest| self.known.get(&digest)) {
            self.next.chunks.push(Chunk { line: document.line, ..Chunk::clone(same) });
            return;
        }
        let read = match objects(document) {
            Ok(read) => read,
            Err(fault) => return self.broken(None, fault),
        };
        let mut chunk = Chunk { digest, line: document.line, objects: SmallVec::new() };
        for it in read {
            match (it.object, it.reference) {
                (Ok(mut object), Some(mut reference)) => {
                    self.memory.shared.object(&mut reference, &mut object);
                    let below = it.line.checked_sub(document.line).unwrap_or_else(|| document.blank_lines());
                    chunk.objects.push(Named { reference, object, below });
                }
                (Ok(_), None) => {}
                (Err(fault), reference) => {
                    chunk.digest = None;
                    self.broken(reference, fault);
                }
            }
        }
        chunk.objects.shrink_to_fit();
        self.next.chunks.push(chunk);
    }

    fn broken(&mut self, object: Option<ObjectRef>, fault: Fault) {
        let Fault { line, field, message } = fault;
        match &object {
            Some(reference) => self.kept.push(reference.clone()),
            None => self.keep_all = true,
        }
        self.next.problems.push(Problem { file: self.path.into(), line, object, field, message });
    }

    fn finish(mut self) -> File {
        self.next.chunks.shrink_to_fit();
        if self.next.problems.is_empty() {
            return self.next;
        }
        let named: HashSet<&ObjectRef> = self.next.objects().map(|(named, _)| &named.reference).collect();
        let stays = |reference: &ObjectRef| {
            !named.contains(reference) && (self.keep_all || self.kept.contains(reference))
        };
        let mut staying = Vec::new();
        for chunk in &self.before.chunks {
            let objects = chunk.objects.iter().filter(|named| stays(&named.reference));
            let objects: SmallVec<_> = objects.cloned().collect();
            if !objects.is_empty() {
                staying.push(Chunk { digest: None, line: chunk.line, objects });
            }
        }
        self.next.chunks.extend(staying);
        self.next
    }
}
