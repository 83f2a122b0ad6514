//! An operator's own certificates.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize, SerialNumber, date_time_ymd,
};

use crate::revocation::list_of;

/// A root of an operator.
pub struct Pki {
    params: CertificateParams,
    key: KeyPair,
    certificate: String,
}

/// What a CA signs with, below such a root.
pub struct Signing {
    serial: Vec<u8>,
    certificate: String,
    key: KeyPair,
}

impl Pki {
    /// A root with an RSA key.
    pub fn rsa() -> Self {
        Self::with(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key"))
    }

    /// A root with a P-384 key. All of them have one name.
    pub fn p384() -> Self {
        Self::with(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key"))
    }

    fn with(key: KeyPair) -> Self {
        let params = params("operator's root", &[1]);
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        Self { params, key, certificate }
    }

    /// The root, in PEM.
    pub fn certificate(&self) -> String {
        self.certificate.clone()
    }

    /// What a CA may sign with, below the root.
    pub fn intermediate(&self, name: &str) -> Signing {
        self.intermediate_until(name, 4096)
    }

    /// The same, to end with the beginning of a year.
    pub fn intermediate_until(&self, name: &str, year: i32) -> Signing {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        self.signing(name, year, key)
    }

    /// The same with an RSA key of 4096 bits, as operators of Istio bring it.
    pub fn rsa_intermediate_until(&self, name: &str, year: i32) -> Signing {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096).expect("a key");
        self.signing(name, year, key)
    }

    /// A list of what the root has signed and takes back, in PEM.
    pub fn revocation_list(&self, serials: &[String]) -> String {
        list_of(&self.certificate, &self.key.serialize_pem(), serials)
    }

    fn signing(&self, name: &str, year: i32, key: KeyPair) -> Signing {
        let serial: Vec<u8> = [&[0x40][..], name.as_bytes()].concat();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let mut params = params(name, &serial);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
        Signing { serial, certificate, key }
    }
}

impl Signing {
    /// Its number, in hexadecimal digits.
    pub fn serial(&self) -> String {
        self.serial.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A list of what it has signed and takes back, in PEM.
    pub fn revocation_list(&self, serials: &[String]) -> String {
        list_of(&self.certificate, &self.key.serialize_pem(), serials)
    }

    /// The files of a CA's folder, the key last: until then the CA goes on with what it has.
    pub fn files(&self, roots: &str) -> Vec<(String, String)> {
        let files = [
            ("ca-cert.pem", self.certificate.clone()),
            ("cert-chain.pem", self.certificate.clone()),
            ("root-cert.pem", roots.to_owned()),
            ("ca-key.pem", self.key.serialize_pem()),
        ];
        files.map(|(name, text)| (name.to_owned(), text)).into()
    }
}

fn params(name: &str, serial: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
