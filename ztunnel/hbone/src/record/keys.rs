//! One direction's key, nonce and record counter.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::HEADER;

/// Bytes of an AES-GCM tag.
pub(super) const TAG: usize = 16;

/// One direction of a connection.
pub(super) struct Direction {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    count: u64,
}

/// The peers agreed on a cipher suite that is not AES-GCM. Our configurations offer no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cipher suite is not AES-GCM")]
pub struct UnsupportedSuite;

/// The record is not what the peer sealed.
#[derive(Debug)]
pub(super) struct BadRecord;

impl Direction {
    pub(super) fn new((count, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, UnsupportedSuite> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            _ => return Err(UnsupportedSuite),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_wrong_length| UnsupportedSuite)?;
        let iv = iv.as_ref().try_into().map_err(|_wrong_length| UnsupportedSuite)?;
        Ok(Self { key: LessSafeKey::new(key), iv, count })
    }

    /// Records under this key so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    #[cfg(test)]
    pub(super) fn set_count(&mut self, count: u64) {
        self.count = count;
    }

    /// Encrypts `inner` in place and returns its tag.
    pub(super) fn seal(&mut self, header: [u8; HEADER], inner: &mut [u8]) -> [u8; TAG] {
        let nonce = self.next_nonce();
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), inner)
            .expect("a record is far shorter than what AES-GCM can seal at once");
        let mut bytes = [0; TAG];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Decrypts `sealed`, a record's bytes behind its header, in place. Returns how many of them are plaintext.
    pub(super) fn open(&mut self, header: [u8; HEADER], sealed: &mut [u8]) -> Result<usize, BadRecord> {
        let nonce = self.next_nonce();
        match self.key.open_in_place(nonce, Aad::from(header), sealed) {
            Ok(plain) => Ok(plain.len()),
            Err(_unspecified) => Err(BadRecord),
        }
    }

    /// RFC 8446 §5.3: the counter, big-endian and padded on the left, xored into the iv.
    fn next_nonce(&mut self) -> Nonce {
        let mut nonce = self.iv;
        for (byte, count) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= count;
        }
        self.count = self.count.checked_add(1).expect("2^64 records take millennia");
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.iv);
    }
}
