//! A certificate authority for tests, for servers with TLS.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::database::Folder;

/// The authority. Its files are removed with it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: Folder,
}

/// A certificate with its key, as PEM files.
pub struct Certificate {
    /// The certificate.
    pub file: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// Creates an authority.
    ///
    /// # Panics
    /// If its files cannot be written.
    pub fn make() -> Self {
        let mut params = CertificateParams::new([]).expect("a certificate");
        params.distinguished_name.push(DnType::CommonName, "An authority for tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let folder = Folder::new().expect("a temporary folder");
        let authority = Self { issuer: Issuer::new(params, key), folder };
        fs::write(authority.file(), certificate.pem()).expect("a file");
        authority
    }

    /// Its own certificate, in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.0.join("authority.pem")
    }

    /// Issues a certificate for a server with this name or address.
    ///
    /// # Panics
    /// If the name is invalid, or the files cannot be written.
    pub fn certify(&self, host: &str) -> Certificate {
        let params = CertificateParams::new([host.to_owned()]).expect("a host");
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |what: &str| self.folder.0.join(format!("{host}.{what}"));
        let certificate = Certificate { file: file("pem"), key: file("key") };
        fs::write(&certificate.file, signed.pem()).expect("a file");
        fs::write(&certificate.key, key.serialize_pem()).expect("a file");
        certificate
    }
}
