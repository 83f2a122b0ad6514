//! The files that make up the mesh: found, read when they changed, put together.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use foldhash::quality::RandomState;

use super::Problem;
use super::file::{File, Memory, Named};
use super::watch::Stale;
use crate::objects::{Object, ObjectRef, Objects};

/// Files and folders of manifests.
#[derive(Debug)]
pub(super) struct Folder {
    roots: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Known>,
    /// Roots and folders that could not be listed.
    problems: Vec<Problem>,
    memory: Memory,
}

#[derive(Debug)]
struct Known {
    stamp: Option<Stamp>,
    file: File,
}

/// What changes with a file's content, nearly always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What is found below the roots.
#[derive(Debug, Default)]
struct Found {
    files: BTreeSet<PathBuf>,
    /// What could not be listed: files known below it stay.
    unlisted: Vec<(PathBuf, io::Error)>,
}

impl Folder {
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, files: BTreeMap::new(), problems: Vec::new(), memory: Memory::default() }
    }

    /// Looks at everything, and reads what changed or is stale. Whether anything is different now.
    pub(super) fn refresh(&mut self, stale: &Stale) -> bool {
        let found = Found::below(&self.roots);
        let problems: Vec<_> = found.unlisted.iter().map(|(path, error)| unlisted(path, error)).collect();
        let mut changed = problems != self.problems;
        self.problems = problems;
        let files = self.files.len();
        let is_below = |path: &Path| found.unlisted.iter().any(|(folder, _)| path.starts_with(folder));
        self.files.retain(|path, _| found.files.contains(path) || is_below(path));
        changed |= self.files.len() != files;
        for path in found.files {
            changed |= self.look_at(path, stale);
        }
        self.memory.shared.sweep();
        changed
    }

    /// All objects, and all that is wrong with the files.
    pub(super) fn objects(&self) -> (Objects, Vec<Problem>) {
        let files = self.files.iter().map(|(path, known)| (path.as_path(), &known.file));
        let (objects, mut problems) = together(files);
        problems.splice(0..0, self.problems.iter().cloned());
        (objects, problems)
    }

    fn look_at(&mut self, path: PathBuf, stale: &Stale) -> bool {
        let stamp = fs::metadata(&path).ok().map(|metadata| Stamp::of(&metadata));
        let known = self.files.get(&path);
        let is_same = known.is_some_and(|known| known.stamp.is_some() && known.stamp == stamp);
        if is_same && !stale.has(&path) {
            return false;
        }
        let nothing = File::default();
        let before = known.map_or(&nothing, |known| &known.file);
        let file = match fs::read(&path) {
            // Gone since it was found: the next look will not find it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => before.unreadable(&path, &error),
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => before.reread(&path, text, &mut self.memory),
                Err(_) => before.unreadable(&path, &io::Error::new(io::ErrorKind::InvalidData, "not UTF-8")),
            },
        };
        self.files.insert(path, Known { stamp, file });
        true
    }
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Found {
    fn below(roots: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for root in roots {
            match fs::metadata(root) {
                Ok(metadata) if metadata.is_dir() => found.list(root, 0),
                Ok(_) => {
                    found.files.insert(root.clone());
                }
                Err(error) => found.unlisted.push((root.clone(), error)),
            }
        }
        found
    }

    /// Hidden entries are left out: editors' and the folders behind a mounted ConfigMap's links.
    fn list(&mut self, folder: &Path, depth: usize) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.unlisted.push((folder.into(), error)),
        };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() && depth < MAX_DEPTH => self.list(&path, depth + 1),
                Ok(metadata) if metadata.is_file() && is_manifest(&path) => {
                    self.files.insert(path);
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// The objects of several files. Where one is defined twice, the first counts.
pub(super) fn together<'a>(files: impl Iterator<Item = (&'a Path, &'a File)>) -> (Objects, Vec<Problem>) {
    let mut objects = Objects::default();
    let mut problems = Vec::new();
    let mut seen: HashMap<&ObjectRef, (&Path, u64), RandomState> = HashMap::default();
    for (path, file) in files {
        problems.extend(file.problems.iter().cloned());
        objects.unread.extend(file.unread.iter().cloned());
        for (Named { reference, object, .. }, line) in file.objects() {
            // Of other kinds there may be several that only their API groups tell apart.
            let is_read = !matches!(object, Object::Ignored | Object::Skipped);
            match seen.get(reference).filter(|_| is_read) {
                Some(first) => problems.push(duplicate(path, line, reference, *first)),
                None => objects.insert(reference, object),
            }
            if is_read {
                seen.entry(reference).or_insert((path, line));
            }
        }
    }
    (objects, problems)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn unlisted(path: &Path, error: &io::Error) -> Problem {
    let message = format!("cannot be read, what was last read of it stays in force: {error}");
    Problem { file: path.into(), line: 0, object: None, field: String::new(), message }
}

fn duplicate(path: &Path, line: u64, object: &ObjectRef, (first, at): (&Path, u64)) -> Problem {
    let message = format!("is defined already, at {}:{at}", first.display());
    Problem { file: path.into(), line, object: Some(object.clone()), field: String::new(), message }
}

/// Folders within folders: deeper than anybody's, and an end to links that lead in a circle.
const MAX_DEPTH: usize = 16;
