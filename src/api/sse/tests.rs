use proptest::prelude::*;

use super::*;

/// Events as (name, data).
type Events = Vec<(Vec<u8>, Vec<u8>)>;

/// The events, whether the body ended on a boundary, and whether a limit was passed.
type Outcome = (Events, bool, bool);

fn framed(bytes_max: usize, chunks: &[&[u8]]) -> Outcome {
    let mut framer = Framer::with_limit(bytes_max);
    let mut events = Vec::new();
    for chunk in chunks {
        framer.push(chunk, &mut |e| {
            events.push((e.name.to_vec(), e.data.to_vec()))
        });
    }
    let overflowed = framer.overflowed();
    (events, framer.finish(), overflowed)
}

fn check(body: &str, expected: &[(&str, &str)], boundary: bool) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, data)| (name.as_bytes().into(), data.as_bytes().into()))
        .collect();
    let found = framed(EVENT_BYTES_MAX, &[body.as_bytes()]);
    assert_eq!(found, (expected, boundary, false), "{body:?}");
}

#[test]
fn frames_are_cut_by_the_rules_of_the_standard() {
    check("", &[], true);
    check("data: a\n\n", &[("", "a")], true);
    check("data: a\r\n\r\n", &[("", "a")], true);
    check("data: a\r\r", &[("", "a")], true);
    check("data: a\n\r", &[("", "a")], true);
    check(
        "data: a\r\n\ndata: b\r\n\r\n",
        &[("", "a"), ("", "b")],
        true,
    );
    check("data:a\n\ndata:  b\n\n", &[("", "a"), ("", " b")], true);
    check(
        "data: a\ndata: b\ndata:\ndata: c\n\n",
        &[("", "a\nb\n\nc")],
        true,
    );
    check("data\n\n", &[], true);
    check("data:\n\n", &[], true);
    check("data:\ndata:\n\n", &[("", "\n")], true);
    check("event: ping\n\n", &[("ping", "")], true);
    check(
        "event: a\nevent: b\ndata: c\n\ndata: d\n\n",
        &[("b", "c"), ("", "d")],
        true,
    );
    check("event: a\nevent:\n\n", &[], true);
    check("id: 7\nretry: 10\nwhatever\n\n", &[], true);
    check("id: 7\ndata: a\nfoo: bar\n\n", &[("", "a")], true);
    check(
        ": note\ndata: a\n: note\ndata: b\n\n: note\n",
        &[("", "a\nb")],
        true,
    );
    check("data: a: b\n\n", &[("", "a: b")], true);
    check(" data: a\nDATA: b\n\n", &[], true);
    check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[("", "a")], true);
    check("\u{feff}\u{feff}data: a\n\n", &[], true);
    check("\n\n\ndata: a\n\n\n\n", &[("", "a")], true);
}

#[test]
fn a_body_ends_on_a_frame_boundary_or_it_does_not() {
    check("data: a", &[], false);
    check("data: a\n", &[], false);
    check("data: a\n\ndata: b\n", &[("", "a")], false);
    check("data: a\n\nid: 7\n", &[("", "a")], false);
    check("data: a\n\n: not a whole comment", &[("", "a")], false);
    check("data: a\n\n: a whole comment\n", &[("", "a")], true);
    check("data: a\r\n\r", &[("", "a")], false);
    check("data: a\r\n\r\n\r", &[("", "a")], false);
    check("\u{feff}", &[], false);
}

#[test]
fn a_line_or_event_beyond_the_limit_is_an_overflow() {
    let check = |body: &str, events: usize, overflowed: bool| {
        let found = framed(10, &[body.as_bytes()]);
        assert_eq!(
            (found.0.len(), found.1, found.2),
            (events, !overflowed, overflowed),
            "{body:?}"
        );
    };
    check("data:12345\n\n", 1, false);
    check("data:123456\n\n", 0, true);
    check("data:1\n\ndata:123456\n\ndata:1\n\n", 1, true);
    check("data:1234\ndata:56789\n\n", 1, false);
    check("data:12345\ndata:67890\n\n", 0, true);
    check(":123456789\ndata:1\n\n", 1, false);
    check(":1234567890\ndata:1\n\n", 0, true);
    check("12345678901", 0, true);
}

/// The rules once more, slowly: lines first, then events.
fn by_the_book(body: &[u8]) -> (Events, bool) {
    let mut lines = vec![Vec::new()];
    let mut ends = Vec::new();
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.next_if_eq(&b'\n').is_some() => ends.push("\r\n"),
            b'\r' => ends.push("\r"),
            b'\n' => ends.push("\n"),
            byte => {
                lines.last_mut().unwrap().push(byte);
                continue;
            }
        }
        lines.push(Vec::new());
    }
    let rest = lines.pop().unwrap();
    if let Some(first) = lines.first_mut()
        && first.starts_with(BOM)
    {
        first.drain(..BOM.len());
    }
    let (mut events, mut name, mut data, mut open) = (Vec::new(), Vec::new(), Vec::new(), false);
    for line in lines {
        if line.is_empty() {
            data.pop();
            if !data.is_empty() || !name.is_empty() {
                events.push((mem::take(&mut name), mem::take(&mut data)));
            }
            open = false;
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let field = parts.next().unwrap().to_vec();
        let value = parts.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        open |= !field.is_empty();
        match &field[..] {
            b"event" => name = value.to_vec(),
            b"data" => {
                data.extend_from_slice(value);
                data.push(b'\n');
            }
            _ => {}
        }
    }
    let half_crlf = body.ends_with(b"\r") && ends.contains(&"\r\n");
    (events, rest.is_empty() && !open && !half_crlf)
}

fn bodies() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "data",
        "data:",
        "data: ",
        "event:",
        "event: e",
        "id: 1",
        ":",
        " ",
        "x",
        "{\"a\":1}",
        "é",
        "\u{feff}",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn chunked<'b>(body: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
    cuts.extend([0, body.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &body[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn events_are_those_of_the_book(body in bodies()) {
        let (events, boundary) = by_the_book(body.as_bytes());
        prop_assert_eq!(framed(EVENT_BYTES_MAX, &[body.as_bytes()]), (events, boundary, false));
    }

    #[test]
    fn any_chunking_gives_the_same_events(
        body in bodies(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        bytes_max in prop::sample::select(vec![4usize, 9, 20, EVENT_BYTES_MAX]),
    ) {
        let body = body.as_bytes();
        let whole = framed(bytes_max, &[body]);
        prop_assert_eq!(framed(bytes_max, &chunked(body, &cuts)), whole.clone());
        let single: Vec<&[u8]> = body.chunks(1).collect();
        prop_assert_eq!(framed(bytes_max, &single), whole);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        body in prop::collection::vec(any::<u8>(), 0..300),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = framed(64, &[&body]);
        prop_assert_eq!(framed(64, &chunked(&body, &cuts)), whole);
    }
}
