//! The scanner agrees with serde_json on what is JSON, and its output is a fixed point with the
//! same meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_cache_server::key::canonical::{Reject, Sorting, canonicalize};
use serde_json::Value;

/// What serde_json takes an object with this key for.
const SERDE_JSON_OWN: &[u8] = b"$serde_json::private::RawValue";

fuzz_target!(|body: &[u8]| {
    if memchr::memmem::find(body, SERDE_JSON_OWN).is_some() {
        return;
    }
    let meant = serde_json::from_slice::<Value>(body);
    match canonicalize(body, &[], Sorting::Everywhere) {
        Ok(canonical) => {
            let text = canonical.as_bytes();
            let again = canonicalize(text, &[], Sorting::Everywhere).expect("canonical text has a canonical form");
            assert_eq!(again.as_bytes(), text);
            match (meant, serde_json::from_slice::<Value>(text)) {
                (Ok(meant), Ok(means)) => {
                    assert_eq!(meant, means);
                    check_members(body, &means);
                }
                (Err(error), Err(_)) => {
                    // serde_json has less room for numbers, and nests one level less deep.
                    let error = error.to_string();
                    let narrower = ["number out of range", "recursion limit exceeded"];
                    assert!(narrower.iter().any(|what| error.contains(what)), "{error}");
                }
                (meant, means) => panic!("{meant:?} became {means:?}"),
            }
        }
        Err(Reject::DuplicateKey | Reject::TooDeep | Reject::TooTangled) => {}
        Err(Reject::NotAnObject) => assert!(!meant.is_ok_and(|meant| meant.is_object())),
        Err(reject) => assert!(meant.is_err(), "{reject:?}, but it is {meant:?}"),
    }
});

/// Every member is found, and leaving it out leaves exactly the others.
fn check_members(body: &[u8], means: &Value) {
    for (key, value) in means.as_object().into_iter().flatten().take(4) {
        let without = canonicalize(body, &[key.as_str()], Sorting::Everywhere).expect("it was valid before");
        assert_eq!(without.get(key), None);
        let mut rest: Value = serde_json::from_slice(without.as_bytes()).expect("it is JSON");
        let whole = canonicalize(body, &[], Sorting::Everywhere).expect("it was valid before");
        let found = whole.get(key).expect("every member is found");
        assert_eq!(
            serde_json::from_slice::<Value>(found).ok().as_ref(),
            Some(value)
        );
        rest[key.as_str()] = value.clone();
        assert_eq!(&rest, means);
    }
}
