//! Tests of files that cannot be used. The tests of the links, with real servers, are elsewhere.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn named(&self, setting: &'static str, text: &str) -> Named {
        let path = self.0.path().join(setting);
        fs::write(&path, text).unwrap();
        Named { setting, path }
    }

    /// With a certificate that is valid until this year.
    fn files(&self, until: i32) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::new(["till".to_owned()]).unwrap();
        own.not_after = date_time_ymd(until, 1, 2);
        let own = own.self_signed(&key).unwrap();
        Files {
            authorities: Some(self.named("cacertfile", &own.pem())),
            own: Some((
                self.named("certfile", &own.pem()),
                self.named("keyfile", &key.serialize_pem()),
            )),
            settings: ["cacertfile", "certfile", "keyfile"],
        }
    }
}

fn refusal(files: &Files) -> String {
    files.config().unwrap_err().to_string()
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let folder = Folder::new();
    let good = folder.files(2999);
    assert!(good.config().unwrap().client_auth_cert_resolver.has_certs());
    let bad = Folder::new();
    let setting = |files: &mut Files, text: &str| {
        files.authorities = Some(bad.named("cacertfile", text));
    };

    let mut files = good.clone();
    setting(&mut files, "nonsense");
    assert!(refusal(&files).contains("holds no certificate in PEM"), "{}", refusal(&files));
    setting(&mut files, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    assert!(refusal(&files).contains("is not PEM"), "{}", refusal(&files));
    files.authorities = Some(Named { setting: "cacertfile", path: "/nowhere/ca.pem".into() });
    assert_eq!(
        refusal(&files),
        "cannot read cacertfile=/nowhere/ca.pem: No such file or directory"
    );

    let other = Folder::new().files(2999).own.unwrap();
    let mut files = good.clone();
    files.own = files.own.map(|(_, key)| (key.clone(), key));
    assert!(refusal(&files).contains("keyfile="), "{}", refusal(&files));
    // The other folder is gone by now.
    files.own = good.own.clone().map(|(own, _)| (own, other.1));
    assert!(refusal(&files).starts_with("cannot read keyfile="), "{}", refusal(&files));
    let key = folder.named("other", &KeyPair::generate().unwrap().serialize_pem());
    files.own = folder.files(2999).own.map(|(own, _)| (own, key));
    assert!(refusal(&files).contains("do not belong together"), "{}", refusal(&files));
}

#[test]
fn our_own_certificate_that_has_expired_is_not_tried() {
    let refusal = refusal(&Folder::new().files(2020));
    assert!(refusal.ends_with("has expired on 2020-01-02 00:00 UTC"), "{refusal}");
    assert!(refusal.starts_with("certfile="), "{refusal}");
}
