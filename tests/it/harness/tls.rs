//! TLS for tests: an authority, a certificate for the loopback names, both ends.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::gate::bounded;
use super::h1::Socket;

/// A certificate for `localhost` and 127.0.0.1 with its authority, all in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

impl Identity {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        Self {
            authority: issuer.pem(),
            certificate: leaf.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The server's end, offering these protocols by ALPN.
    pub fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
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
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        let tcp = bounded("a connection", TcpStream::connect(addr))
            .await
            .unwrap();
        tcp.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let stream = match bounded("the TLS handshake", connecting).await {
            Ok(stream) => stream,
            Err(error) => panic!("no TLS with {addr}: {error}"),
        };
        let agreed = stream.get_ref().1.alpn_protocol().unwrap_or_default();
        let agreed = String::from_utf8_lossy(agreed).into_owned();
        (Box::new(stream), agreed)
    }
}
