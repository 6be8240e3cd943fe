//! From the configuration to the options of the tiers.

use url::Url;

use crate::config::{self, Config, ObjectsCredentials, Secret, SharedMode};
use crate::proxy::question::Questions;
use crate::store::StoreOptions;
use crate::store::shared::SharedOptions;
use crate::store::shared::client::options as client;
use crate::store::shared::objects::{BucketOptions, Credentials, ObjectsOptions};

/// The tiers as they are configured.
pub fn options(config: &Config) -> StoreOptions {
    let memory_bytes_max = config.store.memory_bytes_max;
    StoreOptions {
        path: config.store.path.clone(),
        // What the memo of questions leaves of the budget.
        memory_bytes_max: memory_bytes_max - Questions::share_of(memory_bytes_max),
        disk_bytes_max: config.store.disk_bytes_max,
        write_queue_bytes_max: config.store.write_queue_bytes_max,
        durability: config.store.durability,
        pinned: config.store.pinned.clone(),
        stale_max: config.cache.stale_max(),
        on_disk: config.store.disk,
        shared: config.shared.as_ref().map(|shared| SharedOptions {
            client: client_options(shared),
            prefix: shared.prefix.clone(),
            single_flight: shared.single_flight,
            write_queue_bytes_max: shared.write_queue_bytes_max,
            answer_bytes_max: config.limits.answer_bytes_max,
            objects: config.objects.as_ref().map(objects_options),
        }),
    }
}

fn objects_options(objects: &config::Objects) -> ObjectsOptions {
    let exposed = |secret: &Secret| secret.expose().to_owned();
    ObjectsOptions {
        bucket: BucketOptions {
            endpoint: objects.endpoint.as_ref().map(Url::to_string),
            ca_file: objects.ca_file.clone(),
            bucket: objects.bucket.clone(),
            region: objects.region.clone(),
            prefix: objects.prefix.clone(),
            credentials: match &objects.credentials {
                ObjectsCredentials::Keys {
                    access,
                    secret,
                    session,
                } => Credentials::Keys {
                    access: exposed(access),
                    secret: exposed(secret),
                    session: session.as_ref().map(exposed),
                },
                ObjectsCredentials::Surroundings(variables) => {
                    Credentials::Surroundings(variables.clone())
                }
            },
        },
        deadline: objects.deadline,
        ttl_min: objects.ttl_min,
        write_queue_bytes_max: objects.write_queue_bytes_max,
    }
}

fn client_options(shared: &config::Shared) -> client::Options {
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_owned());
    client::Options {
        nodes: shared.nodes.clone(),
        mode: match &shared.mode {
            SharedMode::Single => client::Mode::Single,
            SharedMode::Cluster => client::Mode::Cluster,
            SharedMode::Sentinel {
                master,
                username,
                password,
            } => client::Mode::Sentinel {
                master: master.clone(),
                username: username.clone(),
                password: secret(password),
            },
        },
        tls: shared.tls,
        ca_file: shared.ca_file.clone(),
        identity: shared.identity.as_ref().map(|tls| client::Identity {
            certificate: tls.cert.clone(),
            key: tls.key.clone(),
        }),
        username: shared.username.clone(),
        password: secret(&shared.password),
        read_replicas: shared.read_replicas,
        deadline: shared.deadline,
    }
}
