//! Certificates taken back.

use std::path::Path;

use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber};

/// A list, in PEM, of certificates that a CA's self-made root, in a folder, has signed and takes back.
///
/// # Panics
/// When there is no such root, or a number is not hexadecimal.
pub fn revocation_list(root: &Path, serials: &[String]) -> String {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect("the CA made a root");
    list_of(&read("root-cert.pem"), &read("root-key.pem"), serials)
}

/// The same, of the CA that has this certificate and this key.
pub(crate) fn list_of(certificate: &str, key: &str, serials: &[String]) -> String {
    let key = KeyPair::from_pem(key).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(certificate, key).expect("a CA's certificate");
    let now = std::time::SystemTime::now();
    let revoked = serials.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from(bytes(serial)),
        revocation_time: now.into(),
        reason_code: None,
        invalidity_date: None,
    });
    let list = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + std::time::Duration::from_secs(3600)).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).expect("a list").pem().expect("PEM")
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digits).collect()
}
