//! That the TLS files are there and look like what they should be.

use std::path::Path as FilePath;

use super::super::Tls;
use super::super::error::Problems;
use super::super::file;
use super::super::path::Path;
use super::secret;

/// Longer than any chain of certificates.
const PEM_BYTES_MAX: u64 = 1 << 20;
const CERT_LABELS: &[&str] = &["CERTIFICATE"];
const KEY_LABELS: &[&str] = &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// Both files, or the errors of both.
pub fn tls(file: &file::Tls, path: &Path, problems: &mut Problems) -> Option<Tls> {
    let mut check = |key, file: Option<&FilePath>, labels| {
        let checked = file.ok_or("is missing: TLS needs both cert and key".to_owned());
        let checked = checked.and_then(|file| holds(file, labels));
        checked
            .map_err(|message| problems.report(&path.key(key), message))
            .is_ok()
    };
    let cert = check("cert", file.cert.as_deref(), CERT_LABELS);
    let key = check("key", file.key.as_deref(), KEY_LABELS);
    match (&file.cert, &file.key) {
        (Some(cert_file), Some(key_file)) if cert && key => Some(Tls {
            cert: cert_file.clone(),
            key: key_file.clone(),
        }),
        _ => None,
    }
}

/// Whether a file holds certificates; if not, why.
pub fn certificates(file: &FilePath) -> Result<(), String> {
    holds(file, CERT_LABELS)
}

/// Whether a file holds a private key; if not, why.
pub fn private_key(file: &FilePath) -> Result<(), String> {
    holds(file, KEY_LABELS)
}

fn holds(file: &FilePath, labels: &[&str]) -> Result<(), String> {
    let name = file.display();
    let text = secret::read(file, PEM_BYTES_MAX)
        .map_err(|cause| format!("{name} cannot be read: {cause}"))?;
    let Some(wanted) = labels.first() else {
        return Ok(());
    };
    match labels.iter().any(|label| has_block(&text, label)) {
        true => Ok(()),
        false if has_block(&text, "ENCRYPTED PRIVATE KEY") => Err(format!(
            "the key in {name} is encrypted, which is not supported"
        )),
        false => Err(format!("no PEM block `{wanted}` in {name}")),
    }
}

fn has_block(text: &str, label: &str) -> bool {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let body = text
        .split_once(&begin)
        .and_then(|(_, rest)| rest.split_once(&end));
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    body.is_some_and(|(body, _)| {
        let mut characters = body.chars().filter(|c| !c.is_whitespace()).peekable();
        characters.peek().is_some() && characters.all(base64)
    })
}
