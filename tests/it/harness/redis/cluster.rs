//! A cluster of such servers.

use super::{PATIENCE, Redis, launch};
use crate::harness::gate::within;
use crate::harness::port::Port;
use crate::harness::resp::Resp;
use crate::harness::tls::Identity;

/// A cluster on loopback. Slots that nobody serves do not stop the others.
pub struct RedisCluster {
    pub masters: Vec<Redis>,
    pub replicas: Vec<Redis>,
}

impl Redis {
    /// One that is to be of a cluster.
    pub async fn member(ports: (Port, Port), identity: Option<&Identity>) -> Self {
        let mut options = vec![
            ("cluster-enabled", "yes"),
            ("cluster-node-timeout", "1000"),
            ("cluster-require-full-coverage", "no"),
            ("cluster-replica-validity-factor", "0"),
            ("repl-diskless-sync-delay", "0"),
            ("repl-ping-replica-period", "1"),
        ];
        if identity.is_some() {
            options.extend([("tls-cluster", "yes"), ("tls-auth-clients", "yes")]);
        }
        let (port, bus) = ports;
        launch(port, &options, vec![bus], identity, None).await
    }
}

impl RedisCluster {
    /// Three masters.
    pub async fn start() -> Self {
        Self::launch(3, false, None).await
    }

    /// Three masters, each with a replica.
    pub async fn with_replicas() -> Self {
        Self::launch(3, true, None).await
    }

    /// A master that has all slots.
    pub async fn of_one() -> Self {
        Self::launch(1, false, None).await
    }

    /// Three masters, each with a replica, that speak nothing but TLS, with each other as well, and
    /// ask everyone for a certificate.
    pub async fn with_tls(identity: &Identity) -> Self {
        Self::launch(3, true, Some(identity)).await
    }

    async fn launch(masters: usize, with_replicas: bool, identity: Option<&Identity>) -> Self {
        let count = if with_replicas { masters * 2 } else { masters };
        let launches = (0..count).map(|_| Redis::member(Port::with_bus(), identity));
        let mut nodes = futures_util::future::join_all(launches).await;
        let replicas = nodes.split_off(masters);
        let cluster = Self {
            masters: nodes,
            replicas,
        };
        cluster.join().await;
        cluster
    }

    async fn join(&self) {
        let masters = self.masters.len();
        for (nth, node) in self.masters.iter().enumerate() {
            let slots = nth * 16_384 / masters..(nth + 1) * 16_384 / masters;
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            // Older servers take no ranges.
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            node.ask(&words).await;
        }
        for (nth, node) in self.nodes().enumerate() {
            let epoch = (nth + 1).to_string();
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        let first = &self.masters[0];
        for node in self.nodes().skip(1) {
            let port = node.port.to_string();
            first.ask(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
        }
        let known = format!("cluster_known_nodes:{}\r", self.nodes().count());
        for node in self.nodes() {
            let knows = async || match node.ask(&["CLUSTER", "INFO"]).await.text() {
                info if info.contains(&known) => Ok(()),
                info => Err(info),
            };
            within(PATIENCE, "the nodes know each other", knows).await;
        }
        for (master, replica) in self.masters.iter().zip(&self.replicas) {
            let id = master.ask(&["CLUSTER", "MYID"]).await.text();
            let follows = async || match replica.try_ask(&["CLUSTER", "REPLICATE", &id]).await {
                Ok(Resp::Bytes(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            };
            within(PATIENCE, "a replica knows its master", follows).await;
        }
        self.is_well().await;
    }

    /// Waits until every node finds that all is well and every replica is in step.
    #[track_caller]
    fn is_well(&self) -> impl Future<Output = ()> {
        within(PATIENCE, "a cluster that is well", async || {
            for node in self.nodes() {
                let info = node.ask(&["CLUSTER", "INFO"]).await.text();
                let nodes = node.ask(&["CLUSTER", "NODES"]).await.text();
                let replicas = nodes.matches("slave ").count();
                if !info.contains("cluster_state:ok")
                    || !info.contains("cluster_slots_ok:16384")
                    || replicas != self.replicas.len()
                {
                    return Err(format!("{info}\n{nodes}"));
                }
                // Replicas are told to clients only once it is known how far they are; who learns the
                // layout before that learns it again half a minute later.
                let slots = node.ask(&["CLUSTER", "SLOTS"]).await;
                let members = if self.replicas.is_empty() { 3 } else { 4 };
                let told =
                    |range: &Resp| matches!(range, Resp::List(range) if range.len() >= members);
                if !matches!(&slots, Resp::List(ranges) if ranges.iter().all(told)) {
                    return Err(format!("{slots:?}"));
                }
            }
            for replica in &self.replicas {
                let info = replica.info("replication").await;
                if !info.contains("master_link_status:up") {
                    return Err(info);
                }
            }
            Ok(())
        })
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Redis> {
        self.masters.iter().chain(&self.replicas)
    }

    pub fn node_names(&self) -> Vec<String> {
        self.nodes().map(Redis::node).collect()
    }

    /// The slot of a key.
    pub async fn slot(&self, key: &str) -> usize {
        match self.masters[0].ask(&["CLUSTER", "KEYSLOT", key]).await {
            Resp::Int(slot) => usize::try_from(slot).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Which of the masters served a key at the start.
    pub async fn master_of(&self, key: &str) -> usize {
        let slot = self.slot(key).await;
        let masters = self.masters.len();
        (0..masters)
            .find(|nth| slot < (nth + 1) * 16_384 / masters)
            .unwrap()
    }
}
