use super::*;

#[test]
fn slots_are_those_of_the_protocol() {
    // `CLUSTER KEYSLOT` of a server says the same.
    assert_eq!(slot_of(b"123456789"), 0x31C3 % SLOTS);
    assert_eq!(slot_of(b"foo"), 12182);
    assert_eq!(slot_of(b"bar"), 5061);
    assert_eq!(slot_of(b"{foo}:1"), 12182);
    assert_eq!(slot_of(b"x{foo}y{bar}"), 12182);
    assert_eq!(slot_of(b"{}foo"), slot_of(b"{}foo"));
    assert_ne!(slot_of(b"{}foo"), 12182);
    assert_eq!(tag(b"{}foo"), None);
    assert_eq!(tag(b"{foo"), None);
    assert_eq!(tag(b"a{b{c}d}"), Some(b"b{c".as_slice()));
}

#[test]
fn addresses_are_read_and_written() {
    for text in ["a:1", "10.0.0.1:6379", "[::1]:6379"] {
        assert_eq!(Addr::parse(text).unwrap().to_string(), text);
    }
    for text in ["", "a", "a:", ":1", "a:0", "a:65536", "a:x"] {
        assert_eq!(Addr::parse(text), None, "{text}");
    }
}

#[test]
fn the_slots_are_read_and_nonsense_is_not_believed() {
    let asked = Addr::parse("seed:1").unwrap();
    let text = |text: &str| Value::BulkString(text.into());
    let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
    let row = |from, to, nodes: Vec<Value>| {
        let mut row = vec![Value::Int(from), Value::Int(to)];
        row.extend(nodes);
        Value::Array(row)
    };
    let good = row(0, 9, vec![node(text("a"), 1), node(Value::Nil, 2)]);
    let ranges = parse(Value::Array(vec![good]), &asked).unwrap();
    assert_eq!(ranges[0].master, Addr::parse("a:1").unwrap());
    assert_eq!(ranges[0].replicas, [Addr::parse("seed:2").unwrap()]);
    for bad in [
        Value::Nil,
        Value::Array(vec![]),
        Value::Array(vec![Value::Okay]),
        Value::Array(vec![row(0, 16_384, vec![node(text("a"), 1)])]),
        Value::Array(vec![row(9, 0, vec![node(text("a"), 1)])]),
        Value::Array(vec![row(-1, 0, vec![node(text("a"), 1)])]),
        Value::Array(vec![row(0, 1, vec![])]),
        Value::Array(vec![row(0, 1, vec![node(text("a"), 70_000)])]),
    ] {
        assert_eq!(parse(bad, &asked), None);
    }
}
