//! TLS for tests: an authority, a certificate for the loopback names, both ends.

use std::io::Result;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::gate::bounded;
use super::h1::Socket;

/// A certificate, for `localhost` and 127.0.0.1 if nothing else is said, with its authority, all in
/// PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// Where it is for who reads files.
#[derive(Debug)]
pub struct PemFiles {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Identity {
    pub fn new() -> Self {
        Self::of(&["localhost", "127.0.0.1"])
    }

    /// For these names alone.
    pub fn of(names: &[&str]) -> Self {
        let mut authority = named("authority", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = named("leaf", names).signed_by(&key, &issuer).unwrap();
        Self {
            authority: issuer.pem(),
            certificate: leaf.pem(),
            key: key.serialize_pem(),
        }
    }

    pub fn write(&self, dir: &Path) -> PemFiles {
        let file = |name: &str, pem: &str| {
            let path = dir.join(name);
            std::fs::write(&path, pem).unwrap();
            path
        };
        PemFiles {
            authority: file("authority.pem", &self.authority),
            certificate: file("certificate.pem", &self.certificate),
            key: file("key.pem", &self.key),
        }
    }

    /// The server's end, offering these protocols by ALPN.
    pub fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let (chain, key) = self.chain_and_key();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The client's end: a connection that trusts this authority, and what ALPN agreed on.
    pub async fn connect(&self, addr: SocketAddr, alpn: &[&str]) -> (Box<dyn Socket>, String) {
        match bounded("a connection with TLS", self.try_connect(addr, alpn)).await {
            Ok(connected) => connected,
            Err(error) => panic!("no TLS with {addr}: {error}"),
        }
    }

    /// The same where there may be none. The certificate is shown to who asks for one.
    pub async fn try_connect(
        &self,
        addr: SocketAddr,
        alpn: &[&str],
    ) -> Result<(Box<dyn Socket>, String)> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap())
            .unwrap();
        let (chain, key) = self.chain_and_key();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await?;
        let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
        let agreed = String::from_utf8_lossy(agreed).into_owned();
        Ok((Box::new(stream), agreed))
    }

    fn chain_and_key(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        (chain, key)
    }
}

/// The subject is not the issuer's: OpenSSL takes that for a certificate that signed itself.
fn named(subject: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params
}
