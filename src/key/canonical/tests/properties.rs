//! What holds for all bodies.

use proptest::prelude::*;
use serde_json::Value;

use super::reference;
use super::values::{Dice, Json, object};
use super::*;

fn written(value: &Json, seed: u64) -> String {
    let mut text = String::new();
    value.write(&mut Dice(seed), &mut text);
    text
}

/// Damages a text in a few places, mostly with bytes that mean something in JSON.
fn damage(text: &mut Vec<u8>, dice: &mut Dice) {
    const BYTES: &[u8] =
        b"\"\"\\\\{}[],:0123456789+-.eEutrufalsn/b \t\n\r\x00\x1f\x7f\xc3\xa9\xed\xff";
    for _ in 0..1 + dice.below(3) {
        let at = dice.below(text.len() + 1);
        let end = (at + dice.below(8)).min(text.len());
        match dice.below(6) {
            0 => text.insert(at, BYTES[dice.below(BYTES.len())]),
            1 => drop(text.splice(at..end, [])),
            2 => drop(text.splice(at..end, [BYTES[dice.below(BYTES.len())]])),
            3 => {
                let piece = text[at..end].to_vec();
                let to = dice.below(text.len() + 1);
                text.splice(to..to, piece);
            }
            4 => drop(text.splice(
                at..at,
                format!("\\u{:04x}", dice.below(0x10000)).into_bytes(),
            )),
            _ if dice.below(8) == 0 => text.truncate(at),
            _ => drop(text.splice(
                at..end,
                text.get(at..end).unwrap_or_default().to_ascii_uppercase(),
            )),
        }
    }
}

/// The scanner accepts exactly what the reference does, with the same text, and never what
/// serde_json refuses; nor does it refuse what serde_json takes, but for duplicate keys.
fn check_agreement(body: &[u8]) -> Result<(), TestCaseError> {
    let ours = canonicalize(body, &[], Sorting::Everywhere);
    let reference = str::from_utf8(body).ok().and_then(reference::parse);
    let text = ours
        .as_ref()
        .ok()
        .map(|canonical| canonical.as_bytes().to_vec());
    prop_assert_eq!(text, reference.map(|value| value.canonical().into_bytes()));
    match (ours, serde_json::from_slice::<Value>(body)) {
        // A number that no f64 can hold is still a number.
        (Ok(_), Err(error)) => {
            prop_assert!(error.to_string().contains("out of range"), "{}", error)
        }
        (Err(reject), Ok(Value::Object(_))) => prop_assert_eq!(reject, Reject::DuplicateKey),
        _ => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn all_spellings_of_a_value_have_its_canonical_text(value in object(), seed: u64) {
        let text = written(&value, seed);
        prop_assert_eq!(canonical(text.as_bytes()), Ok(value.canonical()));
        check_agreement(text.as_bytes())?;
    }

    #[test]
    fn the_canonical_text_is_its_own(value in object(), seed: u64) {
        let once = canonicalize(written(&value, seed).as_bytes(), &[], Sorting::Everywhere).unwrap();
        let twice = canonicalize(once.as_bytes(), &[], Sorting::Everywhere).unwrap();
        prop_assert_eq!(once.as_bytes(), twice.as_bytes());
        prop_assert_eq!(once.digest_without(&[]), twice.digest_without(&[]));
    }

    #[test]
    fn the_canonical_text_means_the_same(value in object(), seed: u64) {
        let text = written(&value, seed);
        let canonical = canonicalize(text.as_bytes(), &[], Sorting::Everywhere).unwrap();
        let meant: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(canonical.as_bytes()).unwrap(), meant);
    }

    #[test]
    fn a_change_anywhere_changes_the_digest(value in object(), seed: u64) {
        let mut dice = Dice(seed);
        let mut other = value.clone();
        other.change_one(&mut dice);
        let [a, b] = [value, other].map(|value| {
            canonicalize(written(&value, dice.below(1 << 20) as u64).as_bytes(), &[], Sorting::Everywhere).unwrap().digest_without(&[])
        });
        prop_assert_ne!(a, b);
    }

    #[test]
    fn ignored_members_do_not_count_and_all_others_are_found(value in object(), seed: u64) {
        let mut dice = Dice(seed);
        let Json::Object(members) = value.clone() else { unreachable!() };
        let (ignored, kept): (Vec<_>, Vec<_>) = members.into_iter().partition(|_| dice.below(3) == 0);
        let mut names: Vec<&str> = ignored.iter().map(|member| member.0.as_str()).collect();
        names.push("not there");
        let canonical = canonicalize(written(&value, seed).as_bytes(), &names, Sorting::Everywhere).unwrap();
        let expected = Json::Object(kept.clone()).canonical();
        prop_assert_eq!(str::from_utf8(canonical.as_bytes()), Ok(expected.as_str()));
        for (key, value) in &kept {
            prop_assert_eq!(canonical.get(key).map(<[u8]>::to_vec), Some(value.canonical().into_bytes()));
        }
        for name in names {
            prop_assert_eq!(canonical.get(name), None);
        }
    }

    #[test]
    fn damaged_bodies_are_judged_as_the_reference_does(value in object(), seed: u64) {
        let mut dice = Dice(seed);
        let mut body = written(&value, seed).into_bytes();
        damage(&mut body, &mut dice);
        check_agreement(&body)?;
    }

    #[test]
    fn a_second_copy_of_a_key_is_refused(value in object(), seed: u64, ignore: bool) {
        let Json::Object(mut members) = value else { unreachable!() };
        if members.is_empty() {
            members.push(("a".into(), Json::Text("b".into())));
        }
        let mut dice = Dice(seed);
        let copy = (members[dice.below(members.len())].0.clone(), Json::Lexeme("1".into()));
        let key = copy.0.clone();
        members.push(copy);
        let ignored: &[&str] = if ignore { &[&key] } else { &[] };
        let found = canonical_without(written(&Json::Object(members), seed).as_bytes(), ignored);
        prop_assert_eq!(found, Err("duplicate-key"));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check_agreement(&bytes)?;
        check_agreement(&[b"{\"a\":\"", bytes.as_slice(), b"\"}"].concat())?;
        check_agreement(&[b"{\"a\":", bytes.as_slice(), b"}"].concat())?;
    }

    #[test]
    fn plain_runs_end_at_the_first_special_byte(
        bytes in prop::collection::vec(prop_oneof![4 => 0x20..=0xffu8, 1 => any::<u8>()], 0..64),
    ) {
        let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
        let expected = bytes.iter().position(special).unwrap_or(bytes.len());
        prop_assert_eq!(text::plain_len(&bytes), expected);
    }
}
