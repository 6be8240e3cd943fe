//! The same question asked at the same moment is paid for once, and everybody sees it arrive.

use std::time::{Duration, Instant};

use crate::harness::*;

const CROWD: usize = 100;

/// The crowd's answers, which all said `coalesced` but one.
#[track_caller]
fn one_led(answers: &[Answer]) {
    let led = answers.iter().filter(|a| a.outcome() == "miss").count();
    let followed = answers
        .iter()
        .filter(|a| a.outcome() == "coalesced")
        .count();
    assert_eq!((led, followed), (1, answers.len() - 1), "(miss, coalesced)");
}

#[tokio::test]
async fn a_hundred_identical_streams_cost_one_call_and_start_together() {
    let _turn = alone().await;
    let mut spreads = Vec::new();
    // The promise is 50 ms. A busy machine may delay some of a hundred clients in one process, so
    // the best of a few rounds counts; everything else must hold in each.
    for _ in 0..4 {
        let gate = Gate::closed();
        let held = gate.clone();
        let script = move |call: &Call| llm::chat_stream(call, 20).paced(ms(20)).held(&held);
        let origin = origin().answer(script).start().await;
        let proxy = proxy_before(&origin).await;
        let asks = vec![chat_stream("crowd"); CROWD];
        let opened = async {
            proxy.following(CROWD).await;
            gate.open();
        };
        let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
        origin.was_called(1);
        one_led(&answers);
        let whole = origin.exchanges()[0].sent.borrow().0.clone();
        for answer in &answers {
            answer.is_clean(200);
            assert_eq!(answer.body, whole);
        }
        let firsts: Vec<Instant> = answers.iter().filter_map(|a| a.first_byte).collect();
        let leader = answers
            .iter()
            .find(|a| a.outcome() == "miss")
            .unwrap()
            .first_byte
            .unwrap();
        let latest = firsts
            .iter()
            .max()
            .unwrap()
            .saturating_duration_since(leader);
        // Streamed, not collected: the first bytes came long before the last ones were sent.
        let last = ms(20) * 20;
        assert!(
            firsts.iter().all(|f| f.elapsed() >= last / 2),
            "the answer came in one piece"
        );
        spreads.push(latest);
        if latest <= ms(50) {
            return;
        }
    }
    panic!("followers' first bytes came {spreads:?} after the leader's, never within 50 ms");
}

#[tokio::test]
async fn a_late_follower_gets_the_stream_from_its_beginning_and_live() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(4, &held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("late");
    let mut leader = proxy.h1().await;
    leader.start(&ask).await;
    leader.until("data:", 4).await;
    let mut follower = proxy.h1().await;
    let head = follower.start(&ask).await;
    assert_eq!(head.outcome(), "coalesced");
    follower.until("data:", 4).await;
    let h2 = proxy.h2().await;
    let mut third = h2.start(&ask).await;
    assert_eq!(third.head().outcome(), "coalesced");
    third.until("data:", 4).await;
    gate.open();
    let answers = [
        leader.finish().await,
        follower.finish().await,
        third.finish().await,
    ];
    for answer in &answers {
        answer.is_clean(200);
        assert_eq!(answer.body, answers[0].body);
    }
    origin.was_called(1);
    let hit = proxy.ask(&ask).await;
    hit.is(200, "hit");
    assert_eq!(hit.body, answers[0].body);
}

#[tokio::test]
async fn the_leader_leaving_changes_nothing_for_the_others() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("abandon");
    let mut leader = proxy.h1().await;
    assert_eq!(leader.start(&ask).await.outcome(), "miss");
    leader.until("data:", 3).await;
    let mut followers = Vec::new();
    for _ in 0..10 {
        let mut follower = proxy.h1().await;
        assert_eq!(follower.start(&ask).await.outcome(), "coalesced");
        followers.push(follower);
    }
    drop(leader);
    proxy.falls_to("llm_cache_followers", 10.0).await;
    gate.open();
    let whole = llm::chat_stream(&origin.last(), 6).bytes();
    for mut follower in followers {
        let answer = follower.finish().await;
        answer.is_clean(200);
        assert_eq!(answer.body, whole);
    }
    proxy.ask(&ask).await.is(200, "hit");
    origin.was_called(1);
}

#[tokio::test]
async fn the_leader_leaving_before_the_first_byte_changes_nothing_either() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_json(call).held(&held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("abandon early");
    let mut leader = proxy.h1().await;
    leader.write(head_of(&ask).as_bytes()).await.unwrap();
    leader.write(&ask.body).await.unwrap();
    origin.called(1).await;
    let opened = async {
        proxy.following(4).await;
        drop(leader);
        proxy.falls_to("llm_cache_followers", 3.0).await;
        gate.open();
    };
    let asks = [ask.clone(), ask.clone(), ask.clone()];
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    for answer in &answers {
        answer.is(200, "coalesced");
    }
    proxy.ask(&ask).await.is(200, "hit");
    origin.was_called(1);
}

#[tokio::test]
async fn a_fill_whose_clients_have_all_left_is_finished_and_kept() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("all left");
    let mut client = proxy.h1().await;
    client.start(&ask).await;
    client.until("data:", 3).await;
    drop(client);
    proxy.falls_to("llm_cache_followers", 0.0).await;
    gate.open();
    assert_eq!(origin.ended(1).await, Sent::Whole);
    proxy.falls_to("llm_cache_fills_in_flight", 0.0).await;
    proxy.ask(&ask).await.is(200, "hit");
    origin.was_called(1);
}

#[tokio::test]
async fn a_fill_whose_clients_have_all_left_is_stopped_if_so_configured() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &held);
    let origin = origin().answer(script).start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("cache.abandoned", "stop")
        .start()
        .await;
    let mut client = proxy.h1().await;
    client.start(&chat_stream("all left")).await;
    client.until("data:", 3).await;
    drop(client);
    assert_eq!(origin.ended(1).await, Sent::Abandoned);
    gate.open();
    proxy.falls_to("llm_cache_fills_in_flight", 0.0).await;
    proxy.ask(&chat_stream("all left")).await.is(200, "miss");
}

#[tokio::test]
async fn a_fill_that_nobody_waits_for_has_a_time_limit() {
    let gate = Gate::closed();
    let script = move |call: &Call| llm::chat_stream(call, 6).held_after(3, &gate);
    let origin = origin().answer(script).start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.fill_detached_max", "200ms")
        .start()
        .await;
    let mut client = proxy.h1().await;
    client.start(&chat_stream("all left")).await;
    client.until("data:", 3).await;
    drop(client);
    assert_eq!(origin.ended(1).await, Sent::Abandoned);
}

#[tokio::test]
async fn plain_answers_are_shared_too() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let asks = vec![embeddings(&["a", "b"]); CROWD];
    let opened = async {
        proxy.following(CROWD).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    one_led(&answers);
    for answer in &answers {
        answer.is_clean(200);
        assert_eq!(answer.body, answers[0].body);
    }
    origin.was_called(1);
}

/// A crowd before an upstream that answers with this status: at once, or when all have come.
async fn a_crowd_is_refused(status: u16, at_once: bool) {
    let _turn = alone().await;
    let gate = Gate::closed();
    if at_once {
        gate.open();
    }
    let held = gate.clone();
    let script = move |call: &Call| {
        let reply = Reply::error(status, &format!("call-{}", call.number));
        reply.header("retry-after", "7").held(&held)
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let asks = vec![chat_stream("refused"); CROWD];
    let opened = async {
        if !at_once {
            proxy.following(CROWD).await;
            gate.open();
        }
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    for answer in &answers {
        answer.is_error(status);
    }
    let (calls, allowed) = (origin.count(), if at_once { 2 } else { 1 });
    assert!(
        calls <= allowed,
        "{calls} upstream calls for {CROWD} requests answered {status}"
    );
    let later = async || {
        let answer = proxy.ask(&chat_stream("refused")).await;
        answer.is_error(status);
        if answer.call() > calls {
            Ok(())
        } else {
            Err(answer.dump())
        }
    };
    within(Duration::from_secs(5), "the refusal is forgotten", later).await;
}

#[tokio::test]
async fn a_slow_429_is_shared() {
    a_crowd_is_refused(429, false).await;
}

#[tokio::test]
async fn a_slow_500_is_shared() {
    a_crowd_is_refused(500, false).await;
}

#[tokio::test]
async fn a_quick_429_does_not_become_a_stampede() {
    a_crowd_is_refused(429, true).await;
}

#[tokio::test]
async fn a_quick_500_does_not_become_a_stampede() {
    a_crowd_is_refused(500, true).await;
}

#[tokio::test]
async fn a_stream_that_breaks_is_broken_for_everyone() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.streams() {
        true => llm::chat_stream(call, 6)
            .held_after(3, &held)
            .broken_after(4),
        false => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("break");
    let h2 = proxy.h2().await;
    let asks = vec![ask.clone(); 10];
    let opened = async {
        proxy.following(12).await;
        gate.open();
    };
    let (over_h1, first, second, ()) =
        tokio::join!(ask_all(&proxy, &asks), h2.ask(&ask), h2.ask(&ask), opened);
    origin.was_called(1);
    for answer in over_h1.iter().chain([&first, &second]) {
        answer.is_broken();
        assert_eq!(answer.head.status, 200);
        assert!(!answer.text().contains("[DONE]"));
    }
    // Only those streams broke: the connection carries on.
    h2.ask(&completion("unharmed")).await.is(200, "miss");
    let next = proxy.ask(&ask).await;
    next.is_broken();
    assert!(next.call() > 1, "a broken answer was stored");
}

#[tokio::test]
async fn different_questions_do_not_wait_for_each_other() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = move |call: &Call| match call.number {
        1 => llm::any(call).held(&held),
        _ => llm::any(call),
    };
    let origin = origin().answer(script).start().await;
    let proxy = proxy_before(&origin).await;
    let slow = chat("slow");
    let quick = async {
        origin.called(1).await;
        let answer = proxy.ask(&chat("quick")).await;
        gate.open();
        answer
    };
    let (slow, quick) = tokio::join!(proxy.ask(&slow), quick);
    slow.is(200, "miss");
    quick.is(200, "miss");
    assert_eq!((slow.call(), quick.call()), (1, 2));
}

#[tokio::test]
async fn who_asks_for_another_form_does_not_follow_but_asks() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let asks = [chat("form"), chat_stream("form")];
    let opened = async {
        origin.called(2).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(ask_all(&proxy, &asks), opened);
    assert_eq!(
        answers[0].is(200, "miss").json()["object"],
        "chat.completion"
    );
    assert!(answers[1].is(200, "miss").text().ends_with(llm::DONE));
    proxy.ask(&chat("form")).await.is(200, "hit");
    proxy.ask(&chat_stream("form")).await.is(200, "hit");
}

#[tokio::test]
async fn a_follower_that_leaves_is_not_waited_for() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin()
        .answer(move |call| llm::any(call).held(&held))
        .start()
        .await;
    let proxy = proxy_before(&origin).await;
    let ask = chat("impatient");
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = proxy.h1().await;
        client.write(head_of(&ask).as_bytes()).await.unwrap();
        client.write(&ask.body).await.unwrap();
        clients.push(client);
    }
    proxy.following(5).await;
    clients.truncate(1);
    proxy.falls_to("llm_cache_followers", 1.0).await;
    gate.open();
    clients[0].read_answer().await.unwrap().is_clean(200);
    origin.was_called(1);
}
