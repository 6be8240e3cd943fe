//! The replica that asks the upstream for all others ends: nobody takes a part for the whole.

use std::time::Instant;

use super::*;

const WORDS: usize = 8;

fn reply(call: &Call) -> Reply {
    llm::chat_stream(call, WORDS)
}

/// An upstream whose first call stops after three frames, until the gate opens; the next are
/// answered at once.
async fn stalled(gate: &Gate) -> Origin {
    let held = gate.clone();
    let script = move |call: &Call| match call.number {
        1 => reply(call).held_after(3, &held),
        _ => reply(call),
    };
    origin().answer(script).start().await
}

/// A client at a replica that has seen the first three frames.
async fn client(replica: &Proxy, ask: &Ask, outcome: &str) -> H1 {
    let mut client = replica.h1().await;
    assert_eq!(client.start(ask).await.outcome(), outcome);
    client.until("data:", 3).await;
    client
}

#[tokio::test]
async fn killed_in_mid_stream_it_leaves_breaks_and_nothing_partial() {
    let gate = Gate::closed();
    let origin = stalled(&gate).await;
    let cluster = RedisCluster::start().await;
    let mut fleet = fleet(3, &origin, &cluster.node_names()).await;
    let ask = chat_stream("killed in mid-stream");
    let mut own = vec![
        client(&fleet[0], &ask, "miss").await,
        client(&fleet[0], &ask, "coalesced").await,
    ];
    let mut remote = Vec::new();
    for replica in [1, 1, 2, 2] {
        remote.push(client(&fleet[replica], &ask, "coalesced").await);
    }
    fleet[0].kill9();
    let killed = Instant::now();
    for client in &mut own {
        client.finish().await.is_broken();
    }
    for mut client in remote {
        let answer = bounded("an end or a break", client.finish()).await;
        let whole = is_true_or_broken(&answer, &origin, reply);
        let end = if whole { "a whole answer" } else { "a break" };
        println!("{end} elsewhere {:?} after the kill", killed.elapsed());
    }
    let took = killed.elapsed();
    assert!(took < ms(10_000), "the others heard of it after {took:?}");
    gate.open();
    // Survivors, and the killed one once it is back.
    for nth in [1, 2, 0] {
        if nth == 0 {
            fleet[0].exits_within(ms(5_000)).await;
            fleet[0].start_again().await;
            joined(&fleet[0]).await;
        }
        for _ in 0..2 {
            let answer = fleet[nth].ask(&ask).await;
            answer.is_clean(200);
            assert!(is_true_or_broken(&answer, &origin, reply));
        }
    }
    assert!(origin.count() <= 4, "{} upstream calls", origin.count());
}

#[tokio::test]
async fn killed_before_the_first_byte_it_is_followed_by_another() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.number {
        1 => reply(call).held(&held),
        _ => reply(call),
    };
    let origin = origin().answer(script).start().await;
    let cluster = RedisCluster::start().await;
    let mut fleet = fleet(3, &origin, &cluster.node_names()).await;
    let ask = chat_stream("killed early");
    let mut leader = fleet[0].h1().await;
    leader.write(head_of(&ask).as_bytes()).await.unwrap();
    leader.write(&ask.body).await.unwrap();
    origin.called(1).await;
    let asks = vec![ask.clone(); 5];
    let killing = async {
        all_following(&fleet[1..], asks.len()).await;
        // They wait for the other replica, not for the upstream.
        origin.was_called(1);
        fleet[0].kill9();
        Instant::now()
    };
    let (second, third, killed) = tokio::join!(
        ask_all(&fleet[1], &asks),
        ask_all(&fleet[2], &asks),
        killing
    );
    println!("whole answers {:?} after the kill", killed.elapsed());
    assert!(killed.elapsed() < ms(10_000));
    for answer in second.iter().chain(&third) {
        answer.is_clean(200);
        assert!(is_true_or_broken(answer, &origin, reply));
    }
    origin.was_called(2);
    assert!(
        leader.read_answer().await.is_err(),
        "its client is answered"
    );
    fleet[0].exits_within(ms(5_000)).await;
    fleet[0].start_again().await;
    joined(&fleet[0]).await;
    for replica in &fleet {
        assert_eq!(replica.ask(&ask).await.is(200, "hit").call(), 2);
    }
}

#[tokio::test]
async fn stopped_in_peace_it_finishes_for_all() {
    let gate = Gate::closed();
    let origin = stalled(&gate).await;
    let redis = Redis::start().await;
    let mut fleet = fleet(2, &origin, &[redis.node()]).await;
    let ask = chat_stream("stopped in peace");
    let mut own = client(&fleet[0], &ask, "miss").await;
    let mut remote = client(&fleet[1], &ask, "coalesced").await;
    fleet[0].sigterm();
    // Its admin listener says so before it is gone.
    let draining = async || match try_get(fleet[0].admin, "/readyz").await {
        Ok(200) => Err("it is ready".to_owned()),
        _ => Ok(()),
    };
    within(ms(5_000), "the leader drains", draining).await;
    gate.open();
    for client in [&mut own, &mut remote] {
        let answer = client.finish().await;
        answer.is_clean(200);
        assert!(is_true_or_broken(&answer, &origin, reply));
    }
    assert!(fleet[0].exits_within(ms(20_000)).await.success());
    assert_eq!(fleet[1].ask(&ask).await.is(200, "hit").call(), 1);
    origin.was_called(1);
    // What it wrote last is there, too.
    assert_eq!(answers([&redis]).await.len(), 1);
}

#[tokio::test]
async fn a_leader_that_hangs_does_not_hold_the_others_for_ever() {
    use nix::sys::signal::Signal;
    let gate = Gate::closed();
    let origin = stalled(&gate).await;
    let redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let ask = chat_stream("the leader hangs");
    let mut own = client(&fleet[0], &ask, "miss").await;
    let mut remote = client(&fleet[1], &ask, "coalesced").await;
    fleet[0].process.signal(Signal::SIGSTOP);
    let answer = bounded("an end or a break", remote.finish()).await;
    is_true_or_broken(&answer, &origin, reply);
    let answer = fleet[1].ask(&ask).await;
    assert!(answer.is_clean(200).call() > 1);
    // It wakes up and finishes what is no longer asked of it.
    fleet[0].process.signal(Signal::SIGCONT);
    gate.open();
    let answer = own.finish().await;
    is_true_or_broken(&answer, &origin, reply);
    for replica in &fleet {
        let answer = replica.ask(&ask).await;
        answer.is_clean(200);
        assert!(is_true_or_broken(&answer, &origin, reply));
    }
}
