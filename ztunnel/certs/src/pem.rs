//! Writing certificates as text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

/// Certificates as concatenated PEM (RFC 7468).
pub fn pem_of(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = STANDARD.encode(certificate);
        while !rest.is_empty() {
            let next = rest.split_off(rest.len().min(LINE));
            text.push_str(&rest);
            text.push('\n');
            rest = next;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// RFC 7468 §2: lines of exactly 64 characters, but for the last.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let certificates = [vec![7; 48], vec![8; 100], vec![]].map(CertificateDer::from);
        let text = pem_of(&certificates);
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        let read: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(read, certificates);
    }
}
