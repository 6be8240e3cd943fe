//! The same question at several replicas at once: one upstream call, and all see it arrive.

use std::time::Instant;

use super::*;

/// Requests at each replica.
const CROWD: usize = 100;
const REPLICAS: usize = 3;

/// Asks the same at all replicas at once; answers of each replica.
async fn ask_everywhere(fleet: &[Proxy], ask: &Ask, each: usize) -> Vec<Vec<Answer>> {
    let asks = vec![ask.clone(); each];
    let asking = fleet.iter().map(|replica| ask_all(replica, &asks));
    futures_util::future::join_all(asking).await
}

/// All answers are whole and the same, one of them led; which replica's.
#[track_caller]
fn one_led(answers: &[Vec<Answer>], whole: &[u8]) -> usize {
    let mut leaders = Vec::new();
    for (replica, answers) in answers.iter().enumerate() {
        for answer in answers {
            answer.is_clean(200);
            assert!(answer.body == whole, "{}", answer.dump());
            match answer.outcome() {
                "miss" => leaders.push(replica),
                "coalesced" => {}
                other => panic!("an answer is {other:?}: {}", answer.dump()),
            }
        }
    }
    assert_eq!(leaders.len(), 1, "replicas with a miss: {leaders:?}");
    leaders[0]
}

/// How long after `since` the last of the first bytes came.
fn latest<'a>(answers: impl Iterator<Item = &'a Answer>, since: Instant) -> Duration {
    let firsts = answers.filter_map(|a| a.first_byte);
    firsts.max().unwrap().saturating_duration_since(since)
}

#[tokio::test]
async fn three_hundred_streams_at_three_replicas_cost_one_call() {
    const ROUNDS: usize = 3;
    const GAP: Duration = ms(20);
    const WORDS: usize = 50;
    let _turn = alone().await;
    let gates: Vec<Gate> = (0..ROUNDS).map(|_| Gate::closed()).collect();
    let held = gates.clone();
    let script = move |call: &Call| {
        let reply = llm::chat_stream(call, WORDS).paced(GAP);
        match held.get(call.number - 1) {
            Some(gate) => reply.held(gate),
            None => reply,
        }
    };
    let origin = origin().answer(script).start().await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(REPLICAS, &origin, &cluster.node_names()).await;
    let mut remotes = Vec::new();
    for (round, gate) in gates.iter().enumerate() {
        let ask = chat_stream(&format!("fleet {round}"));
        let opened = async {
            all_following(&fleet, CROWD).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(ask_everywhere(&fleet, &ask, CROWD), opened);
        origin.was_called(round + 1);
        let whole = origin.exchanges()[round].sent.borrow().0.clone();
        let led = one_led(&answers, &whole);
        let leader = answers[led].iter().find(|a| a.outcome() == "miss");
        let first = leader.unwrap().first_byte.unwrap();
        let here = latest(answers[led].iter(), first);
        let others = answers.iter().enumerate().filter(|(nth, _)| *nth != led);
        let there = latest(others.flat_map(|(_, answers)| answers), first);
        println!("first bytes after the leader's: {here:?} at its replica, {there:?} elsewhere");
        // Streamed, not collected: the first bytes came long before the last ones were sent.
        let firsts = answers.iter().flatten().filter_map(|a| a.first_byte);
        let streamed = GAP * WORDS as u32 / 2;
        assert!(
            firsts.clone().all(|f| f.elapsed() >= streamed),
            "the answer came in one piece"
        );
        remotes.push(there);
        for replica in &fleet {
            let hit = replica.ask(&ask).await;
            hit.is(200, "hit");
            assert!(hit.body == whole);
        }
    }
    // The promise is 100 ms, on a machine that has nothing else to do.
    let best = remotes.iter().min().unwrap();
    assert!(
        *best <= ms(500),
        "first bytes elsewhere came {remotes:?} late"
    );
    origin.was_called(ROUNDS);
}

#[tokio::test]
async fn plain_answers_are_asked_for_once_too() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(REPLICAS, &origin, &cluster.node_names()).await;
    let ask = chat("plain");
    let opened = async {
        all_following(&fleet, 20).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_everywhere(&fleet, &ask, 20), opened);
    origin.was_called(1);
    let whole = llm::any(&origin.last()).bytes();
    one_led(&answers, &whole);
    for replica in &fleet {
        assert!(replica.ask(&ask).await.is(200, "hit").body == whole);
    }
    let mut taken = 0.0;
    for replica in &fleet {
        let metrics = replica.metrics().await;
        taken += metrics.value("llm_cache_shared_leases_total{result=\"taken\"}");
    }
    assert_eq!(taken, 1.0, "leases taken");
}

#[tokio::test]
async fn different_questions_at_different_replicas_do_not_wait_for_each_other() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.number {
        1 => llm::any(call).held(&held),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(2, &origin, &[redis.node()]).await;
    let slow = chat("slow");
    let quick = async {
        origin.called(1).await;
        for replica in &fleet {
            let quick = chat(&format!("quick {}", replica.addr.port()));
            replica.ask(&quick).await.is(200, "miss");
        }
        gate.open();
    };
    let (slow, ()) = tokio::join!(fleet[0].ask(&slow), quick);
    assert_eq!(slow.is(200, "miss").call(), 1);
}

#[tokio::test]
async fn who_asks_late_at_another_replica_gets_the_stream_from_its_beginning_and_live() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(4, &held);
    let origin = origin().answer(script).start().await;
    let cluster = RedisCluster::start().await;
    let fleet = fleet(REPLICAS, &origin, &cluster.node_names()).await;
    let ask = chat_stream("late");
    let mut leader = fleet[0].h1().await;
    assert_eq!(leader.start(&ask).await.outcome(), "miss");
    leader.until("data:", 4).await;
    let mut followers = Vec::new();
    for replica in [1, 1, 2] {
        let mut follower = fleet[replica].h1().await;
        let head = follower.start(&ask).await;
        assert_eq!(head.outcome(), "coalesced");
        follower.until("data:", 4).await;
        followers.push(follower);
    }
    let h2 = fleet[2].h2().await;
    let mut over_h2 = h2.start(&ask).await;
    over_h2.until("data:", 4).await;
    gate.open();
    let whole = leader.finish().await;
    whole.is_clean(200);
    for mut follower in followers {
        let answer = follower.finish().await;
        answer.is_clean(200);
        assert_eq!(answer.body, whole.body);
    }
    let answer = over_h2.finish().await;
    assert_eq!(answer.is_clean(200).body, whole.body);
    origin.was_called(1);
    for (replica, followed) in fleet.iter().zip([0.0, 1.0, 1.0]) {
        let series = "llm_cache_shared_followed_total{result=\"complete\"}";
        let value = replica.metrics().await.value(series);
        assert_eq!(value, followed, "answers of others that were followed");
        let hit = replica.ask(&ask).await;
        assert_eq!(hit.is(200, "hit").body, whole.body);
    }
}

/// The only client of the leading replica leaves; a follower elsewhere gets the rest, which takes
/// longer than a fill without clients may.
async fn the_leader_leaves(setting: &str, value: &str) {
    let reply = |call: &Call| llm::chat_stream(call, 25).paced(ms(50));
    let origin = origin().answer(reply).start().await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    let fleet = fleet_of(2, || replica(&origin, &nodes).set(setting, value)).await;
    let ask = chat_stream("the leader leaves");
    let mut leader = fleet[0].h1().await;
    leader.start(&ask).await;
    leader.until("data:", 3).await;
    let mut follower = fleet[1].h1().await;
    follower.start(&ask).await;
    follower.until("data:", 4).await;
    drop(leader);
    let answer = follower.finish().await;
    answer.is_clean(200);
    assert_eq!(answer.body, reply(&origin.last()).bytes());
    origin.was_called(1);
}

#[tokio::test]
async fn the_leader_leaving_changes_nothing_at_the_other_replicas() {
    the_leader_leaves("cache.abandoned", "finish").await;
}

#[tokio::test]
async fn a_fill_is_not_stopped_while_somebody_elsewhere_follows_it() {
    the_leader_leaves("cache.abandoned", "stop").await;
}

#[tokio::test]
async fn neither_is_its_time_over_while_somebody_elsewhere_follows_it() {
    the_leader_leaves("limits.fill_detached_max", "200ms").await;
}

#[tokio::test]
async fn a_fill_that_nobody_follows_anywhere_is_stopped_if_so_configured() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let nodes = [redis.node()];
    let fleet = fleet_of(2, || {
        replica(&origin, &nodes).set("cache.abandoned", "stop")
    })
    .await;
    let ask = chat_stream("all left, everywhere");
    let mut clients = Vec::new();
    for replica in &fleet {
        let mut client = replica.h1().await;
        client.start(&ask).await;
        client.until("data:", 3).await;
        clients.push(client);
    }
    origin.was_called(1);
    drop(clients);
    assert_eq!(origin.ended(1).await, Sent::Abandoned);
    gate.open();
    for replica in &fleet {
        // Who asks while it is being stopped may still be shown its beginning.
        let anew = async || {
            let answer = replica.ask(&ask).await;
            match answer.end {
                End::Clean => Ok(answer),
                End::Broken(_) => Err(answer.dump()),
            }
        };
        let answer = within(ms(1_000), "a new answer", anew).await;
        assert!(answer.is_clean(200).call() > 1);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_broken_at_every_replica() {
    let gate = Gate::closed();
    let held = gate.clone();
    let reply = |call: &Call| llm::chat_stream(call, 6);
    let script = move |call: &Call| match call.number {
        1 => reply(call).held_after(3, &held).broken_after(4),
        _ => reply(call),
    };
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(REPLICAS, &origin, &[redis.node()]).await;
    let ask = chat_stream("break");
    let mut clients = Vec::new();
    for replica in &fleet {
        let mut client = replica.h1().await;
        client.start(&ask).await;
        client.until("data:", 3).await;
        clients.push(client);
    }
    origin.was_called(1);
    gate.open();
    for mut client in clients {
        let answer = client.finish().await;
        is_true_or_broken(&answer, &origin, reply);
        answer.is_broken();
    }
    assert!(
        answers([&redis]).await.is_empty(),
        "part of an answer is kept"
    );
    for replica in &fleet {
        let answer = replica.ask(&ask).await;
        assert!(answer.is_clean(200).call() > 1);
        assert!(is_true_or_broken(&answer, &origin, reply));
    }
}

/// Everybody asks, the upstream refuses, everybody hears it; each replica asks once at most.
async fn the_fleet_is_refused(status: u16, ask: Ask) {
    const EACH: usize = 10;
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| {
        let message = format!("call-{} is refused", call.number);
        Reply::error(status, &message).held(&held)
    };
    let origin = origin().answer(script).start().await;
    let redis = Redis::start().await;
    let fleet = fleet(REPLICAS, &origin, &[redis.node()]).await;
    let opened = async {
        all_following(&fleet, EACH).await;
        gate.open();
    };
    let (answered, ()) = tokio::join!(ask_everywhere(&fleet, &ask, EACH), opened);
    for answer in answered.iter().flatten() {
        answer.is_error(status);
    }
    let calls = origin.count();
    assert!(calls <= REPLICAS, "{calls} upstream calls");
    assert!(answers([&redis]).await.is_empty(), "a refusal is kept");
    for replica in &fleet {
        let later = async || {
            let answer = replica.ask(&ask).await;
            answer.is_error(status);
            if answer.call() > calls {
                Ok(())
            } else {
                Err(answer.dump())
            }
        };
        within(ms(5_000), "the refusal is forgotten", later).await;
    }
}

#[tokio::test]
async fn a_500_is_heard_everywhere_and_kept_nowhere() {
    the_fleet_is_refused(500, chat("refused")).await;
}

#[tokio::test]
async fn a_429_is_heard_everywhere_and_kept_nowhere() {
    the_fleet_is_refused(429, chat_stream("refused")).await;
}
