//! The node's own resolver configuration: resolv.conf(5).

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a resolver configuration says, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, in order.
    pub servers: Vec<IpAddr>,
    /// Search domains, in order.
    pub searches: Vec<String>,
    /// Option `ndots`.
    pub ndots: Option<u8>,
}

/// The node's configuration file. Looked at when it is needed, a second after the last look at the earliest, so that no
/// change goes unnoticed, whichever way the file was replaced.
#[derive(Debug)]
pub struct NodeResolver {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    looked: Option<Instant>,
    version: Option<Version>,
    conf: Arc<ResolvConf>,
}

/// Tells one content of the file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl ResolvConf {
    /// Reads a configuration. Like resolvers do, it skips what it doesn't understand; of `domain` and `search`, the
    /// last one counts.
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                Some("domain" | "search") => conf.searches = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse().ok()).next_back();
                    conf.ndots = ndots.map(|ndots: u8| ndots.min(MAX_NDOTS)).or(conf.ndots);
                }
                _ => {}
            }
        }
        conf.servers.truncate(MAX_SERVERS);
        conf
    }
}

impl NodeResolver {
    /// The configuration in the file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, last: Mutex::default() }
    }

    /// What the file says now, or said a second ago; what it said last when it is gone or can't be read.
    pub fn current(&self) -> Arc<ResolvConf> {
        // Every change is one step: a panic elsewhere leaves nothing half done.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.looked.is_none_or(|looked| looked.elapsed() >= FRESH) {
            last.looked = Some(Instant::now());
            if let Err(error) = last.look(&self.path) {
                tracing::warn!(path = %self.path.display(), %error, "resolver configuration cannot be read");
            }
        }
        last.conf.clone()
    }
}

impl Last {
    fn look(&mut self, path: &Path) -> io::Result<()> {
        let metadata = std::fs::metadata(path)?;
        let version = Version {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        };
        if self.version != Some(version) {
            self.conf = Arc::new(ResolvConf::parse(&std::fs::read_to_string(path)?));
            self.version = Some(version);
        }
        Ok(())
    }
}

/// A scope (`fe80::1%eth0`) names an interface of the node, which a pod does not have.
fn server(word: &str) -> Option<IpAddr> {
    word.parse().ok()
}

/// How long the file is believed to be as it was.
const FRESH: Duration = Duration::from_secs(1);
/// `MAXNS` of resolv.conf(5).
const MAX_SERVERS: usize = 3;
/// resolv.conf(5): more is silently capped.
const MAX_NDOTS: u8 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_searches_and_ndots_are_read() {
        let conf = ResolvConf::parse(
            "# by hand\n; also\ndomain old\nnameserver 192.0.2.1 # first\nnameserver fe80::1%eth0\n\
             nameserver 2001:db8::1\nsearch corp example.com\noptions timeout:2 ndots:3\noptions rotate\n",
        );
        assert_eq!(conf.servers, ["192.0.2.1", "2001:db8::1"].map(|it| it.parse::<IpAddr>().unwrap()));
        assert_eq!(conf.searches, ["corp", "example.com"]);
        assert_eq!(conf.ndots, Some(3));
    }

    #[test]
    fn nonsense_is_skipped() {
        let conf = ResolvConf::parse("nameserver\nnameserver x\noptions ndots:many\nfoo bar\nsearch");
        assert_eq!(conf, ResolvConf::default());
    }

    #[test]
    fn a_replaced_file_is_seen_and_a_missing_one_keeps_what_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let node = NodeResolver::new(path.clone());
        let look_again = || {
            node.last.lock().unwrap().looked = None;
            node.current().servers.clone()
        };
        assert!(look_again().is_empty());
        std::fs::write(&path, "nameserver 192.0.2.1\n").unwrap();
        assert_eq!(look_again(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let next = folder.path().join("next");
        std::fs::write(&next, "nameserver 192.0.2.2\n").unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(look_again(), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look_again(), ["192.0.2.2".parse::<IpAddr>().unwrap()]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in ".{0,300}") {
            let _whatever = ResolvConf::parse(&text);
        }
    }
}
