use super::*;
use rcgen::{CertificateParams, KeyPair};
use std::path::PathBuf;
use tempfile::TempDir;

const NOW_S: u64 = 1_800_000_000;

fn files(folder: &TempDir) -> Files {
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    Files { certificate: ("CERT_FILE", path("cert.pem")), key: ("KEY_FILE", path("key.pem")) }
}

fn certificate(key: &KeyPair, years: std::ops::Range<i32>) -> String {
    let mut own = CertificateParams::new(["localhost".to_owned()]).unwrap();
    own.not_before = rcgen::date_time_ymd(years.start, 1, 1);
    own.not_after = rcgen::date_time_ymd(years.end, 1, 1);
    own.self_signed(key).unwrap().pem()
}

#[track_caller]
fn refused(files: &Files) -> String {
    format!("{:#}", files.parse(&files.read(), NOW_S).unwrap_err())
}

#[test]
fn a_pair_is_read_and_knows_when_it_expires() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder);
    let key = KeyPair::generate().unwrap();
    fs::write(&files.key.1, key.serialize_pem()).unwrap();
    fs::write(&files.certificate.1, certificate(&key, 2020..2030)).unwrap();
    let pair = files.parse(&files.read(), NOW_S).unwrap();
    assert_eq!(pair.expires_s, 1_893_456_000);
    assert_eq!(pair.certified.cert.len(), 1);
}

#[test]
fn what_is_wrong_is_told_with_its_file_and_setting() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder);
    let said = refused(&files);
    assert!(said.contains("cert.pem, set in CERT_FILE: No such file"), "{said}");
    let key = KeyPair::generate().unwrap();
    for (text, expected) in [
        (String::new(), "cert.pem, set in CERT_FILE holds no certificate in PEM".to_owned()),
        (key.serialize_pem(), "cert.pem, set in CERT_FILE holds no certificate in PEM".to_owned()),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "cert.pem, set in CERT_FILE does not hold an X.509 certificate".to_owned(),
        ),
        (certificate(&key, 2020..2021), "cert.pem, set in CERT_FILE has expired".to_owned()),
        (certificate(&key, 2040..2041), "CERT_FILE is not valid yet".to_owned()),
    ] {
        fs::write(&files.certificate.1, text).unwrap();
        fs::write(&files.key.1, key.serialize_pem()).unwrap();
        let said = refused(&files);
        assert!(said.contains(&expected), "{said}");
    }
    fs::write(&files.certificate.1, certificate(&key, 2020..2030)).unwrap();
    fs::write(&files.key.1, "nothing").unwrap();
    let said = refused(&files);
    assert!(said.contains("key.pem, set in KEY_FILE holds no private key in PEM"), "{said}");
    fs::write(&files.key.1, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let said = refused(&files);
    assert!(said.contains("KEY_FILE does not belong to the certificate in"), "{said}");
}

#[test]
fn one_file_without_the_other_is_told() {
    let folder = TempDir::new().unwrap();
    let files = Files { key: ("KEY_FILE", PathBuf::new()), ..files(&folder) };
    assert_eq!(refused(&files), "CERT_FILE is set and KEY_FILE is not: set both, or neither");
}

#[test]
fn authorities_that_cannot_be_read_are_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ca.pem");
    let said = format!("{:#}", client("https://localhost", Some(&path)).unwrap_err());
    assert!(said.contains("cannot read the authorities in") && said.contains("ca.pem"), "{said}");
    fs::write(&path, "nothing").unwrap();
    let said = format!("{:#}", client("https://localhost", Some(&path)).unwrap_err());
    assert!(said.contains("ca.pem does not hold a certificate in PEM"), "{said}");
}
