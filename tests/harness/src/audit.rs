//! What a CA signed and refused, as it logs it.

use serde::Deserialize;

/// One line of a CA's audit, where it logs JSON.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct AuditLine {
    target: String,
    /// `INFO` or `WARN`.
    pub level: String,
    /// `certificate signed` or `certificate refused`.
    pub message: String,
    /// Who asked, if that was proven.
    pub caller: Option<String>,
    /// Whose certificate was asked for, if that was read.
    pub identity: Option<String>,
    /// Where the call came from.
    pub peer: Option<String>,
    /// Why it was refused, as a label.
    pub reason: Option<String>,
    /// Why it was refused, for people.
    pub cause: Option<String>,
    /// The number of what was signed.
    pub serial: Option<String>,
}

impl AuditLine {
    /// The audit among the lines of a log.
    pub fn all_in(log: &str) -> Vec<Self> {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Self>(line).ok());
        lines.filter(|line| line.target == "audit").collect()
    }

    /// Who got the certificate of which number for whom; none when it was refused.
    pub fn signed(&self) -> Option<(&str, &str, &str)> {
        let is_whole =
            (&*self.level, &*self.message) == ("INFO", "certificate signed") && self.reason.is_none();
        Some((self.caller.as_deref()?, self.identity.as_deref()?, self.serial.as_deref()?))
            .filter(|_| is_whole)
    }

    /// Why who was refused whose certificate, as far as caller and identity are known; none when it was signed.
    pub fn refused(&self) -> Option<(&str, Option<&str>, Option<&str>)> {
        let is_whole =
            (&*self.level, &*self.message) == ("WARN", "certificate refused") && self.serial.is_none();
        let is_whole = is_whole && self.cause.is_some();
        Some((self.reason.as_deref()?, self.caller.as_deref(), self.identity.as_deref())).filter(|_| is_whole)
    }
}
