//! Limits on depth, members, moved bytes and memory.

use std::thread;

use super::*;

/// Objects in objects, each with its second key first, around `inner`.
fn tangled(levels: usize, inner: &str) -> String {
    let mut body = "{\"b\":".repeat(levels);
    body.push_str(inner);
    body.push_str(&",\"a\":1}".repeat(levels));
    body
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
        let nested = |depth: usize| {
            let inner = (open.repeat(depth - 1), close.repeat(depth - 1));
            format!("{{\"x\":{}1{}}}", inner.0, inner.1)
        };
        let deepest = nested(DEPTH_MAX);
        check(&deepest, &deepest);
        check_reject(nested(DEPTH_MAX + 1).as_bytes(), Reject::TooDeep);
        check_reject(nested(1 << 20).as_bytes(), Reject::TooDeep);
    }
    let siblings = format!("{{\"x\":[{}[]]}}", "[[]],".repeat(1000));
    check(&siblings, &siblings);
}

/// Tokio's threads have 2 MiB.
#[test]
fn the_deepest_body_needs_little_stack() {
    let read = || canonical(tangled(DEPTH_MAX, "1").as_bytes()).is_ok();
    let thread = thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(read)
        .unwrap();
    assert!(thread.join().unwrap());
}

#[test]
fn bytes_moved_for_sorting_are_bounded() {
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    assert!(canonical(tangled(30, &text).as_bytes()).is_ok());
    check_reject(tangled(DEPTH_MAX, &text).as_bytes(), Reject::TooTangled);
    // Sorted on as many levels, nothing is moved.
    let sorted = format!(
        "{}{text}{}",
        "{\"b\":".repeat(DEPTH_MAX),
        ",\"c\":1}".repeat(DEPTH_MAX)
    );
    check(&sorted, &sorted);
    // Small bodies are free of it.
    let small = format!("\"{}\"", "x".repeat(30 << 10));
    assert!(canonical(tangled(DEPTH_MAX, &small).as_bytes()).is_ok());
}

#[test]
fn members_are_bounded() {
    let object = |count: usize| {
        let members: Vec<String> = (0..count).map(|i| format!("\"{i:06}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    let most = object(MEMBERS_MAX);
    check(&most, &most);
    check_reject(object(MEMBERS_MAX + 1).as_bytes(), Reject::TooTangled);
    // Over the whole body there may be more.
    let several = format!("{{\"a\":{most},\"b\":{most}}}");
    check(&several, &several);
}

#[test]
fn elements_and_inner_members_leave_nothing_in_memory() {
    for element in ["1", "{}", "[]", "\"\"", "{\"b\":1,\"a\":2}"] {
        let body = format!(
            "{{\"a\":[{}{element}]}}",
            format!("{element},").repeat(1 << 18)
        );
        let canonical = canonicalize(body.as_bytes(), &[], Sorting::Everywhere).unwrap();
        assert_eq!(canonical.members.len(), 1);
        assert!(canonical.members.capacity() <= 4);
        assert_eq!(canonical.text.len(), body.len());
        assert!(canonical.text.capacity() <= body.len() / 8 * 9 + 8);
    }
}
