//! The mesh out of files of ordinary Kubernetes manifests, followed as they change.

mod decode;
mod document;
mod file;
mod folder;
mod kinds;
mod problem;
mod stand_in;
mod strangers;
mod tree;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use problem::Problem;

pub(crate) use decode::Fault;

use crate::objects::Objects;
use crate::status::{Reported, StatusFolder};
use crate::{Settings, Translation, Translator};
use file::{File, Memory};
use folder::Folder;
use watch::{Stale, Watch};

/// The objects in the text of one file, and what is wrong with it. The file's name tells JSON from YAML.
pub fn read(file: &Path, text: &str) -> (Objects, Vec<Problem>) {
    let read = File::default().reread(file, text, &mut Memory::default());
    folder::together(std::iter::once((file, &read)))
}

/// Where the manifests are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Files, and folders with files below them whose names end in `.yaml`, `.yml` or `.json`.
    pub manifests: Vec<PathBuf>,
    /// The folder in which each node reports the pods that it captures; none where nobody does.
    pub status: Option<PathBuf>,
}

/// Follows manifests. What cannot be read is reported, and what was last read of it stays in force: a document that is
/// broken, and a folder that is gone.
#[derive(Debug)]
pub struct ManifestSource {
    reader: Arc<Mutex<Reader>>,
    watch: Watch,
    /// The files may have changed since they were looked at.
    due: bool,
    /// The generation that was last returned. The reader may be ahead of it, when who asked for it went away.
    announced: u64,
}

/// Why manifests cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or folder is not there.
    #[error("cannot read {path}", path = path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// What was read so far. Reading blocks, so it happens on a thread for that.
#[derive(Debug)]
struct Reader {
    folder: Folder,
    status: Option<StatusFolder>,
    reported: Reported,
    translator: Translator,
    /// Counts what is different from the time before.
    generation: u64,
    /// The generation that was last translated.
    translated: u64,
}

impl ManifestSource {
    /// Follows the manifests in `places`.
    ///
    /// # Errors
    /// When a file or folder of manifests is not there to begin with.
    pub fn open(places: Places, settings: Settings) -> Result<Self, OpenError> {
        for path in &places.manifests {
            if let Err(source) = std::fs::metadata(path) {
                return Err(OpenError::Missing { path: path.clone(), source });
            }
        }
        let watched: Vec<_> = places.manifests.iter().chain(&places.status).cloned().collect();
        let reader = Reader {
            folder: Folder::new(places.manifests),
            status: places.status.map(StatusFolder::new),
            reported: Reported::default(),
            translator: Translator::new(settings),
            generation: 0,
            translated: 0,
        };
        Ok(Self {
            reader: Arc::new(Mutex::new(reader)),
            watch: Watch::new(&watched),
            due: true,
            announced: 0,
        })
    }

    /// The mesh as the manifests describe it: at once the first time, later when something changed.
    ///
    /// # Cancel safety
    /// No change is lost when the future is dropped.
    pub async fn next(&mut self) -> Translation {
        loop {
            let stale = self.due.then(|| self.watch.take());
            let (reader, announced) = (self.reader.clone(), self.announced);
            let read = tokio::task::spawn_blocking(move || {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(stale) = stale {
                    reader.refresh(&stale);
                }
                reader.translation(announced)
            });
            let read = read.await;
            self.due = false;
            // A panic of the reader is a bug of ours: the mesh stays as it is, and the next change gets its chance.
            if let Ok(Some((generation, translation))) = read {
                self.announced = generation;
                return translation;
            }
            self.watch.changed().await;
            self.due = true;
        }
    }
}

impl Reader {
    fn refresh(&mut self, stale: &Stale) {
        let mut changed = self.folder.refresh(stale);
        if let Some(status) = &mut self.status {
            let reported = status.read();
            changed |= reported != self.reported;
            self.reported = reported;
        }
        if changed || self.generation == 0 {
            self.generation += 1;
        }
    }

    /// What is different from the generation that arrived last, with the number of this one.
    fn translation(&mut self, arrived: u64) -> Option<(u64, Translation)> {
        if self.generation == arrived {
            return None;
        }
        if self.translated != arrived {
            self.translator.forget();
        }
        let (objects, problems) = self.folder.objects();
        let translation = self.translator.translate(objects, self.reported.clone());
        self.translated = self.generation;
        Some((self.generation, Translation { problems, ..translation }))
    }
}
