//! Compressed bodies: questions are keyed by what they say, answers judged and stored decoded, and
//! given compressed to who accepts that.

use llm_cache_server::coding::Coding;

use crate::harness::*;

/// The same question in this coding.
fn encoded(ask: &Ask, coding: Coding) -> Ask {
    let mut encoded = ask.clone().header("content-encoding", coding.name());
    encoded.body = coding.encode(&ask.body).unwrap().into();
    encoded
}

/// A provider that reads compressed questions.
async fn reading() -> Origin {
    let answer = |call: &Call| {
        let mut plain = call.clone();
        let coding = Coding::ALL
            .into_iter()
            .find(|c| call.header("content-encoding") == Some(c.name()));
        if let Some(Ok(body)) = coding.map(|coding| coding.decode(&call.body, 1 << 20)) {
            plain.body = body.into();
        }
        llm::any(&plain)
    };
    origin().answer(answer).start().await
}

/// The same answer in this coding, as from a provider that was asked for none.
fn compressed(reply: Reply, coding: Coding) -> Reply {
    let content_type = reply
        .headers
        .iter()
        .find(|(name, _)| name == "content-type");
    let content_type = content_type.expect("a type").1.clone();
    let body = coding.encode(&reply.bytes()).unwrap();
    Reply::new(reply.status, &content_type, body).header("content-encoding", coding.name())
}

#[tokio::test]
async fn a_compressed_question_is_the_question_it_says() {
    for coding in Coding::ALL {
        let origin = reading().await;
        let proxy = proxy_before(&origin).await;
        let ask = chat_of_size("compressed", 100_000);
        let first = proxy.ask(&encoded(&ask, coding)).await;
        let key = first
            .is(200, "miss")
            .field("x-llm-cache-key")
            .unwrap()
            .to_owned();
        let call = origin.last();
        assert_eq!(call.header("content-encoding"), Some(coding.name()));
        assert_eq!(
            call.body,
            encoded(&ask, coding).body,
            "what went upstream is what came"
        );
        for again in [
            &ask,
            &encoded(&ask, Coding::Gzip),
            &encoded(&ask, Coding::Brotli),
        ] {
            let hit = proxy.ask(again).await;
            assert_eq!(
                hit.is(200, "hit").field("x-llm-cache-key"),
                Some(key.as_str())
            );
        }
        origin.was_called(1);
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_passed_on_and_not_cached() {
    let origin = reading().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.body_bytes_max", "2MiB")
        .start()
        .await;
    let question = chat("garbled");
    for coding in Coding::ALL {
        let ask = encoded(&question, coding);
        let mut cut = ask.clone();
        cut.body = cut.body.slice(..cut.body.len() - 1);
        let mut longer = ask.clone();
        longer.body = [&ask.body[..], b"x"].concat().into();
        let mut plain = ask.clone();
        plain.body = question.body.clone();
        let mut bomb = ask.clone();
        bomb.body = coding.encode(&vec![b' '; 8 << 20]).unwrap().into();
        for (bad, reason) in [
            (cut, "bad-encoding"),
            (longer, "bad-encoding"),
            (plain, "bad-encoding"),
            (bomb, "too-long"),
        ] {
            let answer = proxy.ask(&bad).await;
            assert_eq!(answer.outcome(), "bypass", "{}", answer.dump());
            answer.says(&format!("detail={reason}"));
            assert_eq!(origin.last().body, bad.body);
        }
    }
    // Two codings, or one that nobody here knows.
    for name in ["gzip, br", "deflate", "x-mine"] {
        let ask = question.clone().header("content-encoding", name);
        proxy
            .ask(&ask)
            .await
            .is(200, "bypass")
            .says("detail=not-json");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_judged_and_kept_decoded() {
    for coding in Coding::ALL {
        let origin = origin()
            .answer(move |call| compressed(llm::any(call), coding))
            .start()
            .await;
        let proxy = proxy_before(&origin).await;
        for ask in [
            chat("an answer"),
            chat_stream("a stream"),
            messages("c", true),
        ] {
            let first = proxy.ask(&ask).await;
            first.is(200, "miss");
            assert_eq!(first.field("content-encoding"), None);
            assert_eq!(first.body, llm::any(&origin.last()).bytes(), "decoded");
            assert_eq!(origin.last().header("accept-encoding"), Some("identity"));
            let hit = proxy.ask(&ask).await;
            assert_eq!(hit.is(200, "hit").body, first.body);
        }
        origin.was_called(3);
    }
}

#[tokio::test]
async fn a_compressed_answer_that_is_cut_is_broken_and_not_kept() {
    for coding in Coding::ALL {
        let origin = origin()
            .answer(move |call| {
                let whole = compressed(llm::any(call), coding);
                let bytes = whole.bytes();
                // Counted and complete on the wire, but not in its coding.
                let cut = Reply::new(200, "application/json", bytes.slice(..bytes.len() - 3));
                cut.header("content-encoding", coding.name())
            })
            .start()
            .await;
        let proxy = proxy_before(&origin).await;
        proxy.ask(&chat("cut")).await.is_broken();
        proxy.ask(&chat("cut")).await.is_broken();
        origin.was_called(2);
    }
}

#[tokio::test]
async fn who_accepts_compression_gets_it_from_the_cache() {
    let origin = origin().start().await;
    let proxy = proxy_before(&origin).await;
    let ask = chat_stream("long enough to be worth it, more or less; words, words, words");
    let whole = proxy.ask(&ask).await.is(200, "miss").body.clone();
    assert!(whole.len() > 1024, "{}", whole.len());
    for (accept, expected) in [
        ("gzip, deflate", Some(Coding::Gzip)),
        ("gzip, deflate, br", Some(Coding::Brotli)),
        ("gzip, br, zstd", Some(Coding::Zstd)),
        ("identity", None),
        ("gzip;q=0", None),
    ] {
        for _ in 0..2 {
            let hit = proxy
                .ask(&ask.clone().header("accept-encoding", accept))
                .await;
            hit.is(200, "hit");
            assert_eq!(
                hit.field("content-encoding"),
                expected.map(Coding::name),
                "{accept}"
            );
            assert_eq!(hit.field("vary"), Some("accept-encoding"));
            let body = match expected {
                Some(coding) => coding.decode(&hit.body, 1 << 20).unwrap().into(),
                None => hit.body.clone(),
            };
            assert_eq!(body, whole, "{accept}");
            assert!(expected.is_none() || hit.body.len() < whole.len());
        }
    }
    // A refreshed answer is not given in the coding of the old one.
    let fresh = proxy.ask(&ask.clone().cache_control("no-cache")).await;
    let fresh = fresh.is(200, "refresh").body.clone();
    assert_ne!(fresh, whole);
    let hit = proxy
        .ask(&ask.clone().header("accept-encoding", "gzip"))
        .await;
    assert_eq!(Coding::Gzip.decode(&hit.body, 1 << 20).unwrap(), fresh);
}

#[tokio::test]
async fn compression_can_be_switched_off() {
    let origin = origin().start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("server.compression", "off")
        .start()
        .await;
    let ask = chat_stream("as it is").header("accept-encoding", "gzip");
    proxy.ask(&ask).await.is(200, "miss");
    let hit = proxy.ask(&ask).await;
    assert_eq!(hit.is(200, "hit").field("content-encoding"), None);
    assert_eq!(hit.field("vary"), None);
}

/// Writers that append, and proxies that compress piece by piece, end and begin anew.
#[tokio::test]
async fn a_body_of_several_members_is_read_to_its_end() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let members = move |plain: &[u8]| {
            let (one, other) = plain.split_at(plain.len() / 2);
            [one, other]
                .map(|part| coding.encode(part).unwrap())
                .concat()
        };
        let answer = move |call: &Call| {
            let plain = llm::any(&Call {
                body: coding.decode(&call.body, 1 << 20).unwrap().into(),
                ..call.clone()
            });
            let body = members(&plain.bytes());
            Reply::new(200, "application/json", body).header("content-encoding", coding.name())
        };
        let origin = origin().answer(answer).start().await;
        let proxy = proxy_before(&origin).await;
        let plain = chat("in two members");
        let mut ask = plain.clone().header("content-encoding", coding.name());
        ask.body = members(&plain.body).into();
        let miss = proxy.ask(&ask).await;
        miss.is(200, "miss");
        let hit = proxy.ask(&plain).await;
        assert_eq!(hit.is(200, "hit").field("content-encoding"), None);
        assert!(hit.json()["choices"].is_array(), "{}", hit.dump());
        origin.was_called(1);
    }
}

/// A provider that reads no compressed bodies refuses one; that says nothing about the same
/// question as it is.
#[tokio::test]
async fn a_refusal_of_a_coding_is_not_shared_with_other_codings() {
    let gate = Gate::closed();
    let opens = gate.clone();
    let answer = move |call: &Call| match call.header("content-encoding") {
        Some(_) => Reply::error(415, "compressed bodies are not read here").held(&opens),
        None => llm::any(call),
    };
    let origin = origin().answer(answer).start().await;
    let proxy = proxy_before(&origin).await;
    let plain = chat("refused by coding");
    let asks = [encoded(&plain, Coding::Gzip), plain.clone()];
    let (refused, answered) = tokio::join!(proxy.ask(&asks[0]), async {
        origin.called(1).await;
        let (answered, ()) = tokio::join!(proxy.ask(&asks[1]), async {
            proxy.following(2).await;
            gate.open();
        });
        answered
    });
    refused.is_clean(415);
    answered.is(200, "miss");
    origin.was_called(2);
    proxy.ask(&asks[0]).await.is(200, "hit");
}
