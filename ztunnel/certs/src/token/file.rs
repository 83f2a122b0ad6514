//! Tokens from a file that somebody else renews, like a projected service-account token.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustls_pki_types::UnixTime;
use zeroize::Zeroizing;

use super::{TokenError, TokenSource};

/// A file with a token, read for each call: whoever renews it needn't tell.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
}

/// Why a file yields no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// There is nothing in it.
    #[error("token file {path:?} is empty")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read token file {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl TokenFile {
    /// The token in the file at `path`.
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl TokenSource for TokenFile {
    fn token(&self, _csr: &str, _now: UnixTime) -> Result<Zeroizing<String>, TokenError> {
        let path = || self.path.clone();
        let text = fs::read_to_string(&self.path);
        let text = Zeroizing::new(text.map_err(|source| TokenFileError::Read { path: path(), source })?);
        match text.trim() {
            "" => Err(TokenFileError::Empty { path: path() }.into()),
            token => Ok(Zeroizing::new(token.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let source = TokenFile::new(path.clone());
        let token = || source.token("", UnixTime::now());
        assert!(matches!(token(), Err(TokenError::File(TokenFileError::Read { .. }))));
        fs::write(&path, "first\n").unwrap();
        assert_eq!(*token().unwrap(), "first");
        fs::write(&path, "second").unwrap();
        assert_eq!(*token().unwrap(), "second");
        fs::write(&path, "\n").unwrap();
        assert!(matches!(token(), Err(TokenError::File(TokenFileError::Empty { .. }))));
    }
}
