//! One file of manifests: what was read of it, and what stays in force while it is broken.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::path::Path;

use foldhash::quality::RandomState;
use smallvec::{SmallVec, smallvec};

use super::decode::Fault;
use super::document::{Document, split};
use super::stand_in::StandIn;
use super::tree::{Lines, Tree};
use super::{Problem, kinds};
use crate::objects::{Object, ObjectRef, Shared, Unread};

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
    /// What is in force instead of objects that were never read.
    stand_ins: Vec<Chunk>,
    pub(super) problems: Vec<Problem>,
    /// What seems misspelt, and whose it is.
    pub(super) unread: Vec<(ObjectRef, Unread)>,
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
        let mut reading = Reading {
            before: self,
            known,
            path,
            next,
            memory,
            kept: Vec::new(),
            keep_all: false,
            count: 0,
            stand_ins: Vec::new(),
        };
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
        Self {
            chunks: self.chunks.clone(),
            stand_ins: self.stand_ins.clone(),
            problems: vec![problem],
            unread: self.unread.clone(),
        }
    }

    /// Its objects, and the line that each starts on.
    pub(super) fn objects(&self) -> impl Iterator<Item = (&Named, u64)> {
        self.chunks
            .iter()
            .chain(&self.stand_ins)
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
    /// Documents so far.
    count: usize,
    /// What broken objects are until they can be read, if nothing is known of them; each with its problem's place.
    stand_ins: Vec<(Chunk, usize, &'static str)>,
}

impl Reading<'_> {
    fn document(&mut self, document: Document<'_>) {
        self.count += 1;
        // Of none, nothing is known: then it is read again.
        let digest = NonZeroU64::new(self.memory.hasher.hash_one(document.text));
        if let Some(same) = digest.and_then(|digest| self.known.get(&digest)) {
            self.next.chunks.push(Chunk { line: document.line, ..Chunk::clone(same) });
            return;
        }
        let read = match objects(document) {
            Ok(read) => read,
            Err(fault) => return self.unparsed(document, fault),
        };
        let mut chunk = Chunk::of(document, digest);
        for it in read {
            let below = it.line.checked_sub(document.line).unwrap_or_else(|| document.blank_lines());
            match (it.object, it.reference) {
                (Ok(mut object), Some(mut reference)) => {
                    self.memory.shared.object(&mut reference, &mut object);
                    if !it.unread.is_empty() {
                        // Few are misspelt: they are read again each time, so that no other has to remember.
                        chunk.digest = None;
                        let unread = it.unread.into_iter().map(|unread| (reference.clone(), unread));
                        self.next.unread.extend(unread);
                    }
                    chunk.objects.push(Named { reference, object, below });
                }
                (Ok(_), None) => {}
                (Err(fault), reference) => {
                    chunk.digest = None;
                    if let (Some(reference), Some(stand_in)) = (&reference, it.stand_in) {
                        self.stand_in(document, reference, below, stand_in);
                    }
                    self.broken(reference, fault);
                }
            }
        }
        chunk.objects.shrink_to_fit();
        self.next.chunks.push(chunk);
    }

    /// Says which document it is as well as can be told of a text without structure.
    fn unparsed(&mut self, document: Document<'_>, fault: Fault) {
        let subject = document.subject().map(|subject| format!(", which seems to be {subject}"));
        let Fault { message, .. } = &fault;
        let message = format!("document {}{}: {message}", self.count, subject.unwrap_or_default());
        self.broken(None, Fault { message, ..fault });
    }

    /// Remembers what may be in force instead of a broken object, whose problem comes next.
    fn stand_in(&mut self, document: Document<'_>, broken: &ObjectRef, below: u64, it: StandIn) {
        let named = Named { reference: broken.clone(), object: it.object, below };
        let chunk = Chunk { objects: smallvec![named], ..Chunk::of(document, None) };
        self.stand_ins.push((chunk, self.next.problems.len(), it.meaning));
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
        let mut staying = Vec::new();
        for chunk in &self.before.chunks {
            let stays = |it: &&Named| {
                !named.contains(&it.reference) && (self.keep_all || self.kept.contains(&it.reference))
            };
            let objects: SmallVec<_> = chunk.objects.iter().filter(stays).cloned().collect();
            if !objects.is_empty() {
                staying.push(Chunk { digest: None, line: chunk.line, objects });
            }
        }
        // A stand-in gives way to that of what is written now.
        let stays = |it: &&Chunk| {
            let mut all = it.objects.iter().map(|named| &named.reference);
            self.keep_all && all.all(|it| !named.contains(it) && !self.kept.contains(it))
        };
        let mut stand_ins: Vec<_> = self.before.stand_ins.iter().filter(stays).cloned().collect();
        let is_known = |it: &Named| {
            let mut stays = staying.iter().flat_map(|chunk| &chunk.objects);
            named.contains(&it.reference) || stays.any(|named| named.reference == it.reference)
        };
        let new = self.stand_ins.into_iter().filter(|(chunk, ..)| !chunk.objects.iter().any(is_known));
        let new: Vec<_> = new.collect();
        for (chunk, problem, meaning) in new {
            if let Some(problem) = self.next.problems.get_mut(problem) {
                problem.message = format!("{}; {meaning}", problem.message);
            }
            stand_ins.push(chunk);
        }
        self.next.chunks.extend(staying);
        self.next.stand_ins = stand_ins;
        self.next
    }
}

impl Chunk {
    fn of(document: Document<'_>, digest: Option<NonZeroU64>) -> Self {
        Self { digest, line: document.line, objects: SmallVec::new() }
    }
}
