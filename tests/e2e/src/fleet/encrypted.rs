//! A fleet whose order service speaks HTTPS, with a certificate of the test's own authority.

use super::Fleet;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use std::{fs, path::PathBuf};

impl Fleet {
    pub async fn start_https(settings: &[(&str, &str)]) -> Self {
        let mut fleet = Self::prepare(settings).await;
        fleet.certify();
        fleet.order_url = fleet.order_url.replace("http:", "https:");
        let client = https::client(&fleet.order_url, Some(&fleet.ca_file()));
        let client = client.expect("the authority is there").pool_max_idle_per_host(0);
        fleet.http = client.build().expect("a client");
        fleet.launch().await
    }

    /// The authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.file("ca.pem")
    }

    fn certify(&mut self) {
        let mut authority = CertificateParams::new([]).expect("no name is wrong");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Python wants all of it: OpenSSL takes two certificates of one name for self-signed.
        authority.distinguished_name.push(DnType::CommonName, "the test's authority");
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = || KeyPair::generate().expect("a key is made");
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("it signs itself");
        let mut own = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        own.use_authority_key_identifier_extension = true;
        let key = key();
        let own = own.signed_by(&key, &authority).expect("it is signed");
        for (name, variable, pem) in [
            ("ca.pem", None, authority.pem()),
            ("cert.pem", Some("HTTP_TLS_CERT_FILE"), own.pem()),
            ("key.pem", Some("HTTP_TLS_KEY_FILE"), key.serialize_pem()),
        ] {
            let path = self.file(name);
            fs::write(&path, pem).expect("it can be written");
            let variable = variable.map(|it| (it.to_owned(), path.display().to_string()));
            self.settings.extend(variable);
        }
    }
}
