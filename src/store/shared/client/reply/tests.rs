use super::*;

fn answer(text: &str) -> Value {
    redis::parse_redis_value(text.as_bytes()).unwrap()
}

#[test]
fn redirections_are_read_and_nonsense_is_none() {
    let asked = Addr::parse("here:1").unwrap();
    let of = |text: &str| redirect(&answer(text), Some(&asked));
    let there = Addr::parse("there:2").unwrap();
    let moved = Redirect::Moved(7, there.clone());
    assert_eq!(of("-MOVED 7 there:2\r\n"), Some(moved));
    assert_eq!(of("-ASK 7 there:2\r\n"), Some(Redirect::Ask(there)));
    let same_host = Redirect::Moved(7, Addr::parse("here:2").unwrap());
    assert_eq!(of("-MOVED 7 :2\r\n"), Some(same_host.clone()));
    assert_eq!(of("-MOVED 7 ?:2\r\n"), Some(same_host));
    let six = Redirect::Moved(7, Addr::parse("[::1]:2").unwrap());
    assert_eq!(of("-MOVED 7 ::1:2\r\n"), Some(six));
    for text in [
        "+OK\r\n",
        "-ERR no\r\n",
        "-MOVED\r\n",
        "-MOVED 7\r\n",
        "-MOVED x there:2\r\n",
        "-MOVED 7 there:x\r\n",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
}

#[test]
fn a_server_that_cannot_serve_is_not_one_that_refuses() {
    for (text, unwell) in [
        ("-LOADING wait\r\n", true),
        ("-CLUSTERDOWN gone\r\n", true),
        ("-MASTERDOWN gone\r\n", true),
        ("-BUSY a script\r\n", true),
        ("-TRYAGAIN\r\n", false),
        ("-READONLY a replica\r\n", false),
    ] {
        assert_eq!(is_unwell(&answer(text)), unwell, "{text}");
        assert_eq!(value(answer(text)), Err(Trouble::Unreachable), "{text}");
    }
    for text in [
        "-WRONGTYPE x\r\n",
        "-OOM x\r\n",
        "-NOPERM x\r\n",
        "-ERR x\r\n",
        "*0\r\n",
    ] {
        assert!(!is_unwell(&answer(text)));
        assert!(
            matches!(value(answer(text)), Err(Trouble::Refused(_))),
            "{text}"
        );
    }
    let long = format!("-ERR {}\r\n", "x".repeat(1000));
    let Err(Trouble::Refused(why)) = number(answer(&long)) else {
        panic!("not refused");
    };
    assert_eq!(why.len(), MESSAGE_MAX);
}

#[test]
fn answers_of_another_kind_are_refused() {
    let odd = Err(super::odd());
    assert_eq!(number(answer(":-1\r\n")), odd);
    assert_eq!(number(answer("$1\r\n1\r\n")), odd);
    assert_eq!(counter(answer("$1\r\nx\r\n")), odd);
    assert_eq!(counter(answer("$0\r\n\r\n")), Ok(0));
    assert!(done(answer(":1\r\n")).is_err());
    assert!(entries(answer("*1\r\n$1\r\nx\r\n")).is_err());
    assert!(entries(answer("*1\r\n$2\r\n:x\r\n")).is_err());
    assert!(entries(answer("$-1\r\n")).is_err());
    let entry = entries(answer("*1\r\n$5\r\n12:a:\r\n")).unwrap();
    assert_eq!(entry, [(12, Bytes::from_static(b"a:"))]);
}
