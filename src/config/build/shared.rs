//! The shared tier: where its servers are, and what fits together.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path as FilePath, PathBuf};

use super::super::error::Problems;
use super::super::file;
use super::super::path::Path;
use super::super::units::{Bytes, Span};
use super::super::{Shared, SharedMode, Tls};
use super::{in_memory, pem, positive, secret, sized};

/// Whoever has more names some of them: they tell about the others.
const NODES_MAX: usize = 128;
/// It is part of every key, so each entry pays for it.
const PREFIX_LEN_MAX: usize = 64;
/// Who waits longer for a cache is better off without it.
const DEADLINE_MAX: Span = Span::secs(1);

/// `None` without nodes. What else stands in the section is checked all the same; only secrets and
/// files, which need not be there while the tier is off, are not looked for.
pub fn build(
    file: Option<&file::Shared>,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Shared> {
    let file = file?;
    let path = |key| Path::from(["shared", key]);
    let nodes = nodes(file, &path("nodes"), problems);
    contradictions(file, problems);
    prefix(&file.prefix, &path("prefix"), problems);
    let deadline = positive(&path("deadline"), file.deadline, problems);
    if file.deadline > DEADLINE_MAX {
        let message = format!("{} is too long: at most {DEADLINE_MAX}", file.deadline);
        problems.report(&path("deadline"), message);
    }
    let queue = (Bytes::kib(64), Bytes::tib(1));
    let queue_path = path("write_queue_bytes_max");
    let queue = sized(&queue_path, file.write_queue_bytes_max, queue, problems);
    if file.nodes.is_empty() {
        return None;
    }
    let mut password = |key, name: &Option<String>| {
        let name = name.as_deref()?;
        secret::password(name, &path(key), env, problems)
    };
    let own = password("password_env", &file.password_env);
    let sentinels = password("sentinel_password_env", &file.sentinel_password_env);
    let mut check = |key, file: &Option<PathBuf>, holds: fn(&FilePath) -> Result<(), String>| {
        if let Some(Err(message)) = file.as_deref().map(holds) {
            problems.report(&path(key), message);
        }
    };
    check("ca_file", &file.ca_file, pem::certificates);
    check("cert_file", &file.cert_file, pem::certificates);
    check("key_file", &file.key_file, pem::private_key);
    Some(Shared {
        nodes,
        mode: match &file.sentinel {
            Some(master) => SharedMode::Sentinel {
                master: master.clone(),
                username: file.sentinel_username.clone(),
                password: sentinels,
            },
            None if file.cluster.0 => SharedMode::Cluster,
            None => SharedMode::Single,
        },
        tls: file.tls.0,
        ca_file: file.ca_file.clone(),
        identity: match (&file.cert_file, &file.key_file) {
            (Some(cert), Some(key)) => Some(Tls {
                cert: cert.clone(),
                key: key.clone(),
            }),
            _ => None,
        },
        username: file.username.clone(),
        password: own,
        read_replicas: file.read_replicas.0,
        prefix: file.prefix.clone(),
        deadline,
        single_flight: file.single_flight.0,
        write_queue_bytes_max: in_memory(queue),
    })
}

fn nodes(file: &file::Shared, path: &Path, problems: &mut Problems) -> Vec<String> {
    let mut nodes: Vec<String> = Vec::new();
    for (index, slot) in file.nodes.0.iter().enumerate() {
        let path = path.item(index);
        match slot.as_deref() {
            None | Some("") => problems.report(&path, "an empty entry"),
            // Without the text itself: a whole URL, pasted here, may hold a password.
            Some(node) if !is_node(node) => problems.report(
                &path,
                "not a host and a port (write e.g. 10.0.0.1:6379 or valkey:6379; for what else a URL \
                 says there are `tls`, `username`, `password_env`)",
            ),
            Some(node) if nodes.iter().any(|other| other == node) => {
                problems.report(&path, format!("{node} is listed already"));
            }
            Some(node) => nodes.push(node.to_owned()),
        }
    }
    let count = file.nodes.0.len();
    if count > NODES_MAX {
        problems.report(path, format!("more than {NODES_MAX}: some of them do"));
    }
    if count > 1 && !file.cluster.0 && file.sentinel.is_none() {
        let message = "several nodes are those of a cluster (`cluster: on`) or sentinels (`sentinel: \
                       NAME-OF-THE-MASTER`): say which, or name one node";
        problems.report(path, message);
    }
    nodes
}

/// A name or an address, and a port. Names are looked up while the server runs, as they may lead
/// somewhere else by then.
fn is_node(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let named = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => (1..=253).contains(&host.len()) && host.chars().all(named),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    host_is_good && digits && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Keys that do nothing, or contradict each other: the operator meant something else.
fn contradictions(file: &file::Shared, problems: &mut Problems) {
    let with_sentinel = file.sentinel.is_some();
    let (cluster, tls) = (file.cluster.0, file.tls.0);
    let blank = |text: &Option<String>| text.as_ref().is_some_and(|text| text.trim().is_empty());
    let without =
        |name: &Option<String>, password: &Option<String>| name.is_some() && password.is_none();
    let only_tls = "is used only with `tls: on`: remove it, or switch TLS on";
    let only_sentinel = "is used only with `sentinel`: remove it, or name the master";
    let no_password = "is sent together with a password only: say which variable holds it";
    let checks = [
        (
            with_sentinel && cluster,
            "sentinel",
            "contradicts `cluster: on`: a cluster has no sentinels, so only one of them can be given",
        ),
        (
            blank(&file.sentinel),
            "sentinel",
            "is empty: the name of the master, such as mymaster",
        ),
        (file.ca_file.is_some() && !tls, "ca_file", only_tls),
        (file.cert_file.is_some() && !tls, "cert_file", only_tls),
        (file.key_file.is_some() && !tls, "key_file", only_tls),
        (
            tls && file.cert_file.is_some() && file.key_file.is_none(),
            "cert_file",
            "is of no use without its key: say where that is with `key_file`",
        ),
        (
            tls && file.key_file.is_some() && file.cert_file.is_none(),
            "key_file",
            "is of no use without its certificate: say where that is with `cert_file`",
        ),
        (
            file.read_replicas.0 && !cluster,
            "read_replicas",
            "is possible only with `cluster: on`",
        ),
        (
            file.sentinel_username.is_some() && !with_sentinel,
            "sentinel_username",
            only_sentinel,
        ),
        (
            file.sentinel_password_env.is_some() && !with_sentinel,
            "sentinel_password_env",
            only_sentinel,
        ),
        (blank(&file.username), "username", "is empty"),
        (
            blank(&file.sentinel_username),
            "sentinel_username",
            "is empty",
        ),
        (
            without(&file.username, &file.password_env),
            "username",
            no_password,
        ),
        (
            with_sentinel && without(&file.sentinel_username, &file.sentinel_password_env),
            "sentinel_username",
            no_password,
        ),
    ];
    for (_, key, message) in checks.into_iter().filter(|(wrong, ..)| *wrong) {
        problems.report(&Path::from(["shared", key]), message);
    }
}

fn prefix(prefix: &str, path: &Path, problems: &mut Problems) {
    if !(1..=PREFIX_LEN_MAX).contains(&prefix.len()) {
        let message = format!("{} bytes, where 1 to {PREFIX_LEN_MAX} can be", prefix.len());
        problems.report(path, message);
    }
    // Between braces stands what a cluster places a key by.
    let bad = |c: char| "{}".contains(c) || c.is_whitespace() || c.is_control();
    if prefix.contains(bad) {
        let message = "no braces, white space and control characters: clusters read braces in keys";
        problems.report(path, message);
    }
}
