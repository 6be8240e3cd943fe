//! What the demo says: that every scene is held against its claim, and how it looks.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::super::client::{Answer, LiveText};
use super::super::screen::{Screen, count, time};
use super::super::verify::{self, Tally};
use super::super::{config_yaml, hints};

const HIT: &str = "llm-cache-server; hit; ttl=60";
const MISS: &str = "llm-cache-server; fwd=uri-miss; stored";

fn answer(outcome: &str, cache_status: &str, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(verify::OUTCOME, outcome.parse().unwrap());
    headers.insert(verify::CACHE_STATUS, cache_status.parse().unwrap());
    let (first_byte, last_byte) = (Duration::from_millis(10), Duration::from_millis(1010));
    Answer {
        status: StatusCode::OK,
        headers,
        body: body.into(),
        first_byte,
        last_byte,
    }
}

fn stream(outcome: &str) -> Answer {
    answer(outcome, MISS, "data: {}\n\ndata: [DONE]\n\n")
}

#[test]
fn an_outcome_must_be_the_one_claimed_and_cache_status_must_agree() {
    assert_eq!(verify::outcome(&answer("hit", HIT, ""), "hit"), Ok(()));
    assert_eq!(verify::outcome(&answer("miss", MISS, ""), "miss"), Ok(()));
    for (outcome, cache_status, claimed) in [
        ("miss", MISS, "hit"),
        ("hit", HIT, "miss"),
        ("hit", MISS, "hit"),
        ("miss", HIT, "miss"),
    ] {
        let seen = verify::outcome(&answer(outcome, cache_status, ""), claimed);
        assert!(
            seen.is_err(),
            "{outcome} with {cache_status} passes for a {claimed}"
        );
    }
}

#[test]
fn an_answer_must_be_200_and_carry_both_headers() {
    assert_eq!(verify::answered(&stream("hit")), Ok(()));
    let mut bad = answer("miss", MISS, "no upstream");
    bad.status = StatusCode::BAD_GATEWAY;
    assert_eq!(
        verify::answered(&bad),
        Err("the answer was 502 Bad Gateway: no upstream".to_owned())
    );
    for name in [verify::OUTCOME, verify::CACHE_STATUS] {
        let mut bare = stream("hit");
        bare.headers.remove(&name);
        assert_eq!(
            verify::answered(&bare),
            Err(format!("the answer has no {name} header"))
        );
    }
}

#[test]
fn a_stream_that_came_in_one_piece_is_not_live() {
    let mut answer = stream("miss");
    assert_eq!(verify::live(&answer, Duration::from_secs(1)), Ok(()));
    answer.first_byte = answer.last_byte - Duration::from_millis(5);
    assert!(verify::live(&answer, Duration::from_secs(1)).is_err());
}

#[test]
fn a_crowd_has_one_miss_and_everyone_the_same_complete_stream() {
    let crowd = || {
        vec![
            stream("coalesced"),
            stream("miss"),
            stream("hit"),
            stream("coalesced"),
        ]
    };
    assert_eq!(
        verify::crowd(&crowd()),
        Ok(Tally {
            miss: 1,
            coalesced: 2,
            hit: 1
        })
    );

    let spoilt: [fn(&mut Vec<Answer>); 6] = [
        |all| all.push(stream("miss")),
        |all| all.retain(|one| verify::header(one, verify::OUTCOME) != "miss"),
        |all| all.retain(|one| verify::header(one, verify::OUTCOME) != "coalesced"),
        |all| all[2].body.insert(0, b'\n'),
        |all| all.iter_mut().for_each(|one| one.body.truncate(5)),
        |all| all.push(stream("bypass")),
    ];
    for (number, spoil) in spoilt.iter().enumerate() {
        let mut all = crowd();
        spoil(&mut all);
        assert!(verify::crowd(&all).is_err(), "spoilt crowd {number} passes");
    }
}

#[test]
fn calls_must_be_as_many_as_claimed() {
    assert_eq!(verify::calls(1, 1), Ok(()));
    let seen = verify::calls(26, 1);
    assert_eq!(seen, Err("the stand-in counted 26 calls, not 1".to_owned()));
}

#[test]
fn text_is_wrapped_without_colour_codes_or_odd_characters() {
    let mut out = Vec::new();
    let mut screen = Screen::new(&mut out, false);
    screen.heading("1  A heading").unwrap();
    screen.question("why?").unwrap();
    let text = "some words of several lengths \x1b[31m and an umlaut \u{e4} ".repeat(20);
    text.split_inclusive(' ')
        .for_each(|token| screen.token(token).unwrap());
    screen.end_text().unwrap();
    screen.outcome("x-llm-cache", "hit").unwrap();
    screen.row("Cache-Status", &"long; ".repeat(50)).unwrap();

    let out = String::from_utf8(out).unwrap();
    assert!(
        out.bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)),
        "{out:?}"
    );
    for line in out.lines() {
        assert!(line.len() <= 80 && !line.ends_with(' '), "{line:?}");
    }
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let expected = words(&text.replace(['\x1b', '\u{e4}'], "?"));
    let from = out.find("some").unwrap();
    let to = out.find("x-llm-cache").unwrap();
    assert_eq!(words(&out[from..to]), expected);
}

#[test]
fn colour_is_there_when_asked_for() {
    let mut out = Vec::new();
    Screen::new(&mut out, true)
        .outcome("x-llm-cache", "hit")
        .unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "   \x1b[2mx-llm-cache   \x1b[0m\x1b[32mhit\x1b[0m\n"
    );
}

#[test]
fn times_and_counts_are_short() {
    for (micros, text) in [
        (0, "0.00 ms"),
        (214, "0.21 ms"),
        (9_994, "9.99 ms"),
        (9_996, "10 ms"),
        (603_400, "603 ms"),
        (999_600, "1.00 s"),
        (2_014_000, "2.01 s"),
    ] {
        assert_eq!(time(Duration::from_micros(micros)), text);
    }
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1_234_567, "1,234,567"),
    ] {
        assert_eq!(count(number), text);
    }
}

#[test]
fn live_text_is_found_wherever_the_pieces_are_cut() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"h\u{e9} \"}}]}\n\n: comment\n\n\
                data: {\"choices\":[{\"delta\":{}}]}\n\ndata: {\"choices\":[]}\n\n\
                data: {\"choices\":[{\"delta\":{\"content\":\"you\"}}]}\n\ndata: [DONE]\n\n";
    for size in 1..=body.len() {
        let mut live = LiveText::default();
        let texts: Vec<String> = body
            .as_bytes()
            .chunks(size)
            .flat_map(|p| live.push(p))
            .collect();
        assert_eq!(texts, ["h\u{e9} ", "you"], "pieces of {size}");
    }
}

#[test]
fn hints_fit_the_terminal_and_name_both_ports() {
    let [proxy, admin]: [SocketAddr; 2] = [
        "127.0.0.1:65535".parse().unwrap(),
        "127.0.0.1:65534".parse().unwrap(),
    ];
    let hints = hints(proxy, admin);
    let widest = hints.lines().map(str::len).max().unwrap();
    assert!(hints.is_ascii() && widest <= 80, "{widest} columns");
    assert!(hints.contains("http://127.0.0.1:65535/v1/chat/completions"));
    assert!(hints.contains("http://127.0.0.1:65534/metrics"));
}

#[test]
fn the_configuration_is_yaml_whatever_the_path_holds() {
    let addr = "127.0.0.1:1".parse().unwrap();
    let path = "/tmp/a \"b\": {c} # \\d";
    let yaml = config_yaml(addr, addr, addr, path.as_ref());
    let node = marked_yaml::parse_yaml(0, &yaml).unwrap();
    let root = node.as_mapping().unwrap();
    let store = root.get_mapping("store").unwrap();
    assert_eq!(store.get_scalar("path").unwrap().as_str(), path);
}
