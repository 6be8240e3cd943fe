//! A cluster that speaks TLS and asks everyone for a certificate.

use super::*;
use crate::operating::purge;

#[tokio::test]
async fn who_has_a_certificate_shares_and_who_has_none_works_alone() {
    let identity = Identity::new();
    let origin = origin().start().await;
    let cluster = RedisCluster::with_tls(&identity).await;
    // By name, while the nodes name each other by address.
    let seeds: Vec<String> = cluster
        .nodes()
        .map(|node| format!("localhost:{}", node.port))
        .collect();
    let with_tls = || {
        replica(&origin, &seeds)
            .config(|c| {
                c.file("authority.pem", &identity.authority);
                c.file("certificate.pem", &identity.certificate);
                c.file("key.pem", &identity.key);
            })
            .set("shared.tls", "on")
            .set("shared.ca_file", "authority.pem")
    };
    let known = || {
        with_tls()
            .set("shared.cert_file", "certificate.pem")
            .set("shared.key_file", "key.pem")
    };
    let fleet = fleet_of(2, known).await;
    for _ in 0..6 {
        sharing(&fleet[0], &fleet[1]).await;
        sharing(&fleet[1], &fleet[0]).await;
    }
    let ask = chat("purged over TLS");
    fleet[0].ask(&ask).await.is(200, "miss");
    is_known(&fleet[1], &ask).await;
    purge(&fleet[0], &json!({"all": true})).await;
    is_gone(ms(5_000), &fleet[1], &ask).await;

    let stranger = with_tls().start().await;
    let says = async || match stranger.process.stderr() {
        log if log.contains("CertificateRequired") => Ok(()),
        log => Err(log),
    };
    within(ms(20_000), "a reason in the log", says).await;
    stranger.ask(&chat("alone")).await.is(200, "miss");
    stranger.ask(&chat("alone")).await.is(200, "hit");
    let metrics = stranger.metrics().await;
    assert_eq!(metrics.value("llm_cache_shared_servers_connected"), 0.0);
}
