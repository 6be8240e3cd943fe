//! API keys and tokens: where they come from, and that they are never shown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path as FilePath;

use super::super::ApiKey;
use super::super::error::{Place, Problems};
use super::super::file::Upstream;
use super::super::path::Path;
use super::super::seed;

/// No provider's key is nearly as long.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// Shorter tokens can be guessed.
const TOKEN_LEN_MIN: usize = 16;

/// A text that is never shown: `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself. For the header or the login it goes into, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The key for an upstream, if it is to have one. `path` is that of the upstream.
pub fn api_key(
    upstream: &Upstream,
    path: &Path,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<ApiKey> {
    let (env_path, file_path) = (path.key("api_key_env"), path.key("api_key_file"));
    let found = match (&upstream.api_key_env, &upstream.api_key_file) {
        (Some(_), Some(_)) => {
            problems.report(
                &file_path,
                "contradicts api_key_env: only one of them can be given",
            );
            return None;
        }
        (Some(name), None) => from_variable(name, env).map_err(|message| (env_path, message)),
        (None, Some(file)) => from_file(file).map_err(|message| (file_path, message)),
        (None, None) => return seed_key(upstream, &env_path, env, problems),
    };
    match found {
        Ok(secret) => Some(ApiKey {
            secret,
            replaces: true,
        }),
        Err((path, message)) => {
            problems.report(&path, message);
            None
        }
    }
}

/// The token for operators, from the variable of this name.
pub fn admin_token(
    name: &str,
    path: &Path,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Secret> {
    let token = from_variable(name, env).and_then(|token| match token.0.len() {
        0..TOKEN_LEN_MIN => Err(format!(
            "the token is too short: at least {TOKEN_LEN_MIN} characters, such as `openssl rand \
             -hex 32` gives"
        )),
        _ => Ok(token),
    });
    token.map_err(|message| problems.report(path, message)).ok()
}

/// A password of the shared tier, from the variable of this name. It goes into no header, so it may
/// have any characters.
pub fn password(
    name: &str,
    path: &Path,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Secret> {
    let text = text_of(name, env).map(|text| Secret(text.to_owned()));
    text.map_err(|message| problems.report(path, message)).ok()
}

/// A key of an object store, from the variable of this name, without what a file or an editor put around it.
pub fn store_key(
    name: &str,
    path: &Path,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Secret> {
    let text = text_of(name, env)
        .map(str::trim)
        .and_then(|text| match text {
            "" => Err(format!("missing secret: {name} is blank")),
            text => checked(text),
        });
    text.map_err(|message| problems.report(path, message)).ok()
}

/// The ancestor's variable is in many environments for other reasons, so it only helps out clients
/// that bring no key.
fn seed_key(
    upstream: &Upstream,
    path: &Path,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<ApiKey> {
    if upstream.name.as_deref() != Some(seed::OPENAI) {
        return None;
    }
    let text = seed::variable(env, seed::API_KEY)?;
    match checked(text) {
        Ok(secret) => Some(ApiKey {
            secret,
            replaces: false,
        }),
        Err(message) => {
            problems.report_at(Place::Variable(seed::API_KEY.to_owned()), path, message);
            None
        }
    }
}

fn from_variable(name: &str, env: &BTreeMap<String, String>) -> Result<Secret, String> {
    text_of(name, env).and_then(checked)
}

fn text_of<'a>(name: &str, env: &'a BTreeMap<String, String>) -> Result<&'a str, String> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    match seed::variable(env, name) {
        Some(text) => Ok(text),
        None if !name.is_empty() && name.chars().all(is_name) => Err(format!(
            "missing secret: the environment variable {name} is unset or empty"
        )),
        // A key pasted here by mistake must not reach the log.
        None => Err(
            "missing secret: there is no environment variable of this name (the name of a \
                     variable goes here, never the key itself)"
                .to_owned(),
        ),
    }
}

fn from_file(file: &FilePath) -> Result<Secret, String> {
    let text = read(file, SECRET_BYTES_MAX)
        .map_err(|cause| format!("missing secret: {} cannot be read: {cause}", file.display()))?;
    let text = text.trim();
    match text.is_empty() {
        true => Err(format!("missing secret: {} is empty", file.display())),
        false => checked(text),
    }
}

/// Reads a text file, up to a length.
pub(super) fn read(file: &FilePath, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(file)?
        .take(bytes_max + 1)
        .read_to_string(&mut text)?;
    match read as u64 > bytes_max {
        true => Err(io::Error::other(format!("longer than {bytes_max} bytes"))),
        false => Ok(text),
    }
}

fn checked(text: &str) -> Result<Secret, String> {
    match text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        true => Ok(Secret(text.to_owned())),
        false => Err("the secret has characters that cannot stand in a header".to_owned()),
    }
}
