//! Fields, and words of enumerations, that nobody knows.

use std::cell::RefCell;

use crate::objects::Unread;
use crate::suggest;

/// What becomes of them. `metadata` and `status` may always have some.
#[derive(Clone, Copy)]
pub(super) enum Strangers<'a> {
    /// Those that look misspelt are collected, and read as if they were not there.
    Collected(&'a RefCell<Vec<Unread>>),
    /// They make the object unreadable.
    Refused,
    /// They are read as if they were not there.
    Tolerated,
}

impl Strangers<'_> {
    /// Looks whether a field is known; `place` is where it is.
    ///
    /// # Errors
    /// What is wrong with it, where strangers are refused.
    pub(super) fn field(
        self,
        name: &str,
        known: &[&'static str],
        place: impl FnOnce() -> String,
    ) -> Result<(), String> {
        if matches!(self, Self::Tolerated) || known.contains(&name) {
            return Ok(());
        }
        let meant = suggest::nearest(name, known);
        match self {
            Self::Refused => Err(format!("is not known, {}", suggest::or_one_of(meant, known))),
            Self::Collected(unread) if meant.is_some() && !UNUSED.contains(&name) => {
                let (field, meant) = (place().into(), meant.map(Into::into));
                unread.borrow_mut().push(Unread { field, value: None, meant });
                Ok(())
            }
            Self::Collected(_) | Self::Tolerated => Ok(()),
        }
    }

    /// Looks whether a word is known; `place` is the field that it is the value of. The word that an enumeration has for
    /// all others is none.
    ///
    /// # Errors
    /// What is wrong with it, where strangers are refused.
    pub(super) fn word(
        self,
        word: &str,
        known: &[&'static str],
        place: impl FnOnce() -> String,
    ) -> Result<(), String> {
        let is_word = |it: &&str| !it.eq_ignore_ascii_case(ANY_OTHER);
        if matches!(self, Self::Tolerated) || (known.contains(&word) && is_word(&word)) {
            return Ok(());
        }
        let known: Vec<_> = known.iter().copied().filter(is_word).collect();
        let meant = suggest::nearest(word, &known);
        match self {
            Self::Refused => Err(format!("{word:?} is not known, {}", suggest::or_one_of(meant, &known))),
            Self::Collected(unread) => {
                let (field, value, meant) = (place().into(), Some(word.into()), meant.map(Into::into));
                unread.borrow_mut().push(Unread { field, value, meant });
                Ok(())
            }
            Self::Tolerated => Ok(()),
        }
    }
}

/// Fields of the API that mean nothing here, and are near to one that does.
const UNUSED: &[&str] = &["externalTrafficPolicy"];

/// What our enumerations call all words that they don't know.
const ANY_OTHER: &str = "unknown";
