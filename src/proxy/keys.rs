//! Step 4: the keys of a request.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::LlmProxy;
use super::fill::Asked;
use super::serve::Visit;
use crate::api::{Question, Variant};
use crate::config::Scope;
use crate::key::{Key, KeyParts};
use crate::policy::{self, NAMESPACE_HEADER};
use crate::store::about::About;
use crate::tenant::{self, Tenant};
use crate::upstream::Upstream;

/// What every key of a request has in common.
pub struct Keys {
    tenant: Tenant,
    upstream: Arc<Upstream>,
    api: String,
    path: String,
    query: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: [u8; 32],
    namespace: Option<Box<str>>,
}

impl Keys {
    /// The keys of a request, or why it is not to be cached.
    pub fn of(
        proxy: &LlmProxy,
        headers: &HeaderMap,
        visit: &Visit,
        asked: &Asked,
        question: &Question,
    ) -> Result<Keys, &'static str> {
        if !visit.may_cache {
            return Err("cache-off");
        }
        if visit.control.no_store || visit.control.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err("no-store");
        }
        let key_headers = asked.api.key_headers();
        let counts = |name: &str| tenant::identifies(name) || key_headers.contains(&name);
        if policy::connection_takes(headers, counts) {
            return Err("connection-header");
        }
        let body = question.digest?;
        let values = |name: &'static str| {
            let values = headers.get_all(name).iter();
            values.map(move |value| (name, value.as_bytes().to_vec()))
        };
        let query = visit.query.as_deref();
        let is_key = |name: &HeaderName| key_headers.contains(&name.as_str());
        let mut in_key: Vec<_> = match headers.keys().any(is_key) {
            true => key_headers.iter().flat_map(|name| values(name)).collect(),
            // As with most requests.
            false => Vec::new(),
        };
        // Behind the others, and only if there is one: without it a key is what it always was.
        let namespace = visit.control.namespace.clone();
        in_key.extend(
            namespace
                .iter()
                .map(|name| (NAMESPACE_HEADER, name.as_bytes().to_vec())),
        );
        Ok(Keys {
            tenant: match proxy.scope {
                Scope::Credential => visit.tenant,
                Scope::Shared => Tenant::SHARED,
            },
            upstream: asked.target.upstream.clone(),
            api: asked.api.key_label(),
            path: visit.rest.clone(),
            // Credentials make the tenant; with entries for all of them they make no question.
            query: query
                .and_then(tenant::without_credentials)
                .unwrap_or_default(),
            headers: in_key,
            body,
            namespace,
        })
    }

    /// What an entry of this request is about.
    pub fn about(&self, model: Option<&str>) -> Arc<About> {
        let question = self.with("", &self.body);
        let question = *question.as_bytes().first_chunk().unwrap_or(&[0; 8]);
        let tenant = self.tenant.beginning();
        let namespace = self.namespace.as_deref();
        // Without the version of what is left out of the key.
        let api = self.api.split('/').next().unwrap_or_default();
        Arc::new(About::new(api, model, namespace, tenant, question))
    }

    /// Nothing is part of the keys but who asks which body of which place and upstream.
    pub fn is_plain(&self) -> bool {
        self.headers.is_empty()
    }

    /// The key of the answer in one form.
    pub fn key(&self, variant: &Variant) -> Key {
        self.with(variant.tag(), &self.body)
    }

    /// The key of something else that is asked in the same circumstances, by the digest of what.
    pub fn with(&self, form: &str, body: &[u8; 32]) -> Key {
        let headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        let parts = KeyParts {
            tenant: self.tenant.as_bytes(),
            upstream: self.upstream.identity(),
            api: &self.api,
            path: &self.path,
            query: &self.query,
            headers: &headers,
            form,
            body,
        };
        parts.key()
    }
}
