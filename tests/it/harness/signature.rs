//! Amazon's signatures, version 4, as the one who checks them reads the rules.

use hyper::http::request::Parts;
use ring::{digest, hmac};

/// Whether the one who has these keys signed this request, with this body.
pub fn check(head: &Parts, body: &[u8], access: &str, secret: &str) -> Result<(), String> {
    let header = |name: &str| {
        let values = head.headers.get_all(name).iter();
        let values: Vec<&str> = values
            .map(|v| v.to_str().unwrap_or_default().trim())
            .collect();
        values.join(",")
    };
    let authorization = header("authorization");
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or("not signed")?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        let value = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        value.ok_or_else(|| format!("without {name}"))
    };
    let (credential, signed, signature) = (
        field("Credential")?,
        field("SignedHeaders")?,
        field("Signature")?,
    );
    let scope = credential
        .strip_prefix(access)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or("InvalidAccessKeyId")?;
    let [date, region, "s3", "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
        return Err(format!("a scope that is none: {scope}"));
    };
    let session = head.headers.contains_key("x-amz-security-token");
    let session = session.then_some("x-amz-security-token");
    let always = ["host", "x-amz-content-sha256", "x-amz-date"];
    for needed in always.into_iter().chain(session) {
        if !signed.split(';').any(|name| name == needed) {
            return Err(format!("{needed} is not signed"));
        }
    }
    let body_digest = header("x-amz-content-sha256");
    if body_digest != sha256(body) {
        return Err("XAmzContentSHA256Mismatch".to_owned());
    }
    let named = signed.split(';');
    let headers: String = named
        .map(|name| format!("{name}:{}\n", header(name)))
        .collect();
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{signed}\n{body_digest}",
        head.method,
        head.uri.path(),
        head.uri.query().unwrap_or_default(),
    );
    let time = header("x-amz-date");
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, "s3", "aws4_request"] {
        key = sign(&key, part);
    }
    match hex::encode(sign(&key, &to_sign)) == signature && time.starts_with(date) {
        true => Ok(()),
        false => Err("SignatureDoesNotMatch".to_owned()),
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}
