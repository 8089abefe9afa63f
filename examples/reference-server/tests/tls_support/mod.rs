//! Certificates, and clients that trust them.
#![allow(dead_code, reason = "each test binary uses some of it")]

pub(crate) mod browser;
pub(crate) mod proxy;

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A certificate for this machine that signs itself, in files.
pub(crate) struct Authority {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let files = [scratch(&format!("{name}.pem")), scratch(&format!("{name}.key"))];
        Self::in_files(files)
    }

    /// In the place of what is there.
    pub(crate) fn in_files([certificate, key]: [PathBuf; 2]) -> Self {
        let names = ["localhost", "127.0.0.1", "chat.example"].map(str::to_owned);
        let pair = KeyPair::generate().unwrap();
        let made = CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
        fs::write(&certificate, made.pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        Self { certificate, key, der: made.der().clone() }
    }

    /// Both in one file.
    pub(crate) fn together(&self) -> PathBuf {
        let file = self.certificate.with_extension("both.pem");
        let both = [&self.certificate, &self.key].map(|it| fs::read(it).unwrap());
        fs::write(&file, both.concat()).unwrap();
        file
    }

    pub(crate) async fn connect(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("chat.example").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The built server.
pub(crate) const SERVER: &str = env!("CARGO_BIN_EXE_reference-server");
