//! What TLS needs to know: whom we trust, and who we are.

use std::io::{Error, Result};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::options::Options;

/// TLS as these options say. Blocks: reads files.
pub fn connector(options: &Options) -> Result<TlsConnector> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::other)?
        .with_root_certificates(roots(options.ca_file.as_deref())?);
    let config = match &options.identity {
        Some(identity) => {
            let chain = certificates(&identity.certificate)?;
            let pem = read(&identity.key)?;
            let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| bad(&identity.key, e))?;
            let fits = config.with_client_auth_cert(chain, key);
            fits.map_err(|e| bad(&identity.certificate, e))?
        }
        None => config.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The authorities of this file, or those of the system.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| bad(path, e))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs()?);
        }
    }
    match roots.is_empty() {
        true => Err(Error::other("no certificate authority to trust")),
        false => Ok(roots),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(path)?;
    let found: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    found.map_err(|e| bad(path, e))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| bad(path, e))
}

fn bad(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::other(format!("{}: {error}", path.display()))
}
