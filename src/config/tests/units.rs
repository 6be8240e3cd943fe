//! How sizes, durations, switches and lists are written, and that they are printed the same way.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::units::{Address, Bytes, List, OnOff, Span};

fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn sizes() {
    for (written, bytes, printed) in [
        (json!("32MiB"), 32 << 20, "32MiB"),
        (json!("32 mib"), 32 << 20, "32MiB"),
        (json!("20GB"), 20_000_000_000, "19531250KiB"),
        (json!("1.5GiB"), 3 << 29, "1536MiB"),
        (json!("4096"), 4096, "4KiB"),
        (json!(1000), 1000, "1000B"),
        (json!(0), 0, "0B"),
        (json!("2TiB"), 2 << 40, "2TiB"),
    ] {
        let size: Bytes = read(written).unwrap();
        assert_eq!((size, size.to_string().as_str()), (Bytes(bytes), printed));
        assert_eq!(read::<Bytes>(json!(printed)), Ok(size));
    }
    for wrong in [
        json!(""),
        json!("MiB"),
        json!("-1"),
        json!("1 x"),
        json!(1.5),
        json!(true),
        json!([]),
    ] {
        let error = read::<Bytes>(wrong).unwrap_err();
        assert!(error.contains("a size such as 512KiB"), "{error}");
    }
}

#[test]
fn durations() {
    for (written, duration, printed) in [
        ("200ms", Duration::from_millis(200), "200ms"),
        ("1500ms", Duration::from_millis(1500), "1500ms"),
        ("0s", Duration::ZERO, "0s"),
        ("25s", Duration::from_secs(25), "25s"),
        ("300s", Duration::from_secs(300), "300s"),
        ("10m", Duration::from_secs(600), "10m"),
        ("1h 30m", Duration::from_secs(5400), "90m"),
        ("0.5h", Duration::from_secs(1800), "30m"),
        ("12h", Duration::from_secs(43_200), "12h"),
        ("30d", Duration::from_secs(2_592_000), "30d"),
    ] {
        let span: Span = read(json!(written)).unwrap();
        assert_eq!((span, span.to_string().as_str()), (Span(duration), printed));
        assert_eq!(read::<Span>(json!(printed)), Ok(span));
    }
    for wrong in [
        json!(""),
        json!("25"),
        json!("s"),
        json!("-1s"),
        json!("1 fortnight"),
        json!(25),
        json!(0),
    ] {
        let error = read::<Span>(wrong).unwrap_err();
        assert!(error.contains("a duration such as 200ms"), "{error}");
    }
    assert_eq!(read(json!("36500d")), Ok(Span::MAX));
    for long in [
        "36501d",
        "18446744073709551615s 1000ms",
        "18446744073709551616ns",
    ] {
        let error = read::<Span>(json!(long)).unwrap_err();
        assert!(
            error.contains("is too long") || error.contains("longer than 100 years"),
            "{error}"
        );
    }
}

#[test]
fn switches() {
    for (written, value) in [
        (json!("on"), true),
        (json!("off"), false),
        (json!(true), true),
        (json!(false), false),
        (json!("true"), true),
        (json!("false"), false),
    ] {
        assert_eq!(read(written), Ok(OnOff(value)));
    }
    for wrong in [json!("ON"), json!("yes"), json!(1), json!("")] {
        assert!(read::<OnOff>(wrong).is_err());
    }
}

#[test]
fn one_value_stands_for_a_list_of_one() {
    let address = |text: &str| Address(text.parse().unwrap());
    let one = read::<List<Address>>(json!("[::1]:80"));
    assert_eq!(one, Ok(List::of([address("[::1]:80")])));
    let two = read::<List<Address>>(json!(["1.2.3.4:1", "[::]:2"]));
    assert_eq!(two, Ok(List::of([address("1.2.3.4:1"), address("[::]:2")])));
    assert_eq!(
        read::<List<String>>(json!(["a", null])),
        Ok(List(vec![Some("a".to_owned()), None]))
    );
    assert!(read::<List<String>>(json!({})).is_err());
    assert!(read::<List<Address>>(json!(["1.2.3.4"])).is_err());
}
