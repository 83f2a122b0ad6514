//! Where private keys are: those of workloads in no file.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use e2e::calls::opened;
use harness::{LabError, Mesh, MeshOptions, eventually};
use serde_json::json;

use crate::scene::{echo, serial, shop};

#[test]
fn keys_of_workloads_are_in_no_file_but_of_a_cache() -> Result<(), LabError> {
    let kept = tempfile::tempdir_in("/dev/shm")?;
    let cached = json!({ "ca": { "cache": kept.path().join("node1") } });
    let options = MeshOptions { nodes: [("node1".to_owned(), cached)].into(), ..MeshOptions::default() };
    let mesh = Mesh::with(&shop(), &options)?;
    let (client, server) = (mesh.pod("shop/client"), mesh.pod("shop/server"));
    let (_server, there) = echo(&server)?;
    let _live = opened(&client, there)?;
    serial(&mesh, &server)?;
    // As they run, and after an end that nobody chose.
    let expected: BTreeSet<PathBuf> =
        ["ca/root/root-key.pem", "node1/node.key", "node2/node.key"].map(PathBuf::from).into();
    assert_eq!(with_keys(&mesh.folder())?, expected);
    let here = mesh.daemon("node2");
    here.kill()?;
    assert_eq!(with_keys(&mesh.folder())?, expected);
    here.run()?;
    mesh.wait_settled()?;
    serial(&mesh, &server)?;
    assert_eq!(with_keys(&mesh.folder())?, expected);
    // Which would have been seen.
    eventually("the keys that are kept are not found", || {
        Ok((with_keys(kept.path())?.len() == 2).then_some(()))
    })
}

/// The files in a folder, and in those below, that hold a private key; in whichever form that takes.
fn with_keys(folder: &Path) -> Result<BTreeSet<PathBuf>, LabError> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && read(&entry.path())?.is_some_and(|bytes| holds_key(&bytes)) {
                let path = entry.path();
                found.insert(path.strip_prefix(folder).unwrap_or(&path).to_owned());
            }
        }
    }
    Ok(found)
}

/// None of what is gone meanwhile, and of network namespaces, which look like files.
fn read(path: &Path) -> Result<Option<Vec<u8>>, LabError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// PEM of any kind; or an ECPrivateKey of P-256, bare or in PKCS #8, as bytes or in Base64 wherever it begins.
fn holds_key(bytes: &[u8]) -> bool {
    // version 1, and an OCTET STRING of 32 bytes (RFC 5915 §3).
    let signs: [&[u8]; 5] = [b"PRIVATE KEY-----", b"\x02\x01\x01\x04\x20", b"AgEBBC", b"IBAQQg", b"CAQEEI"];
    signs.iter().any(|sign| bytes.windows(sign.len()).any(|window| window == *sign))
}

#[test]
fn a_key_is_found_in_each_form() {
    let der = [&[0x30, 0x81, 0x87, 7, 7, 7][..], b"\x02\x01\x01\x04\x20", &[9; 32]].concat();
    assert!(holds_key(&der) && !holds_key(&der[..10]));
    for skipped in 0..3 {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der[skipped..]);
        assert!(holds_key(text.as_bytes()), "{text}");
    }
    assert!(holds_key(b"-----BEGIN EC PRIVATE KEY-----"));
}
