use super::*;

fn about() -> About {
    About::new("chat", Some("m"), None, [7; 8], [9; 8])
}

fn covered(purges: &FleetPurges, generation: u64) -> bool {
    purges.cover(generation, &Key::from_bytes([1; 32]), &about(), 0)
}

#[test]
fn what_was_asked_before_a_purge_is_covered_and_what_came_later_is_not() {
    let purges = FleetPurges::default();
    assert_eq!(purges.generation_of(5), None);
    assert!(covered(&purges, 0));
    purges.begin(3, 0, false);
    assert_eq!(purges.generation_of(5), None);
    purges.reached(5);
    let before = purges.generation_of(5).unwrap();
    assert!(!covered(&purges, before));
    purges.carried_out(1, Covers::Model("m".into()), b"1");
    purges.reached(6);
    assert!(covered(&purges, before));
    // What this replica asked before it had carried it out.
    assert_eq!(purges.generation_of(5), Some(before));
    let after = purges.generation_of(6).unwrap();
    assert!(!covered(&purges, after));
    purges.carried_out(2, Covers::Model("another".into()), b"2");
    assert!(!covered(&purges, after));
}

#[test]
fn what_is_being_purged_is_covered() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(5);
    let before = purges.generation_of(5).unwrap();
    let under_way = purges.under_way(&Covers::Model("m".into()));
    assert!(covered(&purges, before));
    drop(under_way);
    assert!(!covered(&purges, before));
}

#[test]
fn what_another_log_says_is_not_believed() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    let generation = purges.generation_of(0).unwrap();
    purges.begin(4, 0, false);
    purges.reached(0);
    assert!(covered(&purges, generation));
}

#[test]
fn who_was_in_step_with_a_log_that_was_lost_knows_what_it_said() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    let first = purges.generation_of(0).unwrap();
    purges.carried_out(1, Covers::Model("m".into()), b"3");
    purges.reached(1);
    let second = purges.generation_of(1).unwrap();
    purges.begin(4, 0, true);
    purges.reached(1);
    assert!(covered(&purges, first));
    assert!(!covered(&purges, second));
    // And so over several of them, each with a purge that is about something else.
    for id in 5..=7 {
        let entry = [b'o', id as u8];
        purges.carried_out(1, Covers::Model("another".into()), &entry);
        purges.begin(id, 0, true);
        purges.reached(1);
        assert!(covered(&purges, first));
        assert!(!covered(&purges, second), "{id}");
    }
    // What the next logs say counts.
    let other = FleetPurges::default();
    other.begin(3, 0, false);
    other.reached(0);
    other.begin(4, 0, true);
    other.reached(0);
    assert!(!covered(&other, first));
    other.carried_out(1, Covers::Model("m".into()), b"5");
    assert!(covered(&other, first));
    other.begin(5, 0, true);
    assert!(covered(&other, first));
    // Logs without number are not remembered, and neither is one that something was missed of.
    purges.begin(8, 0, true);
    assert!(covered(&purges, second));
    other.begin(6, 0, false);
    let of_five = 5u64 << 32;
    assert!(covered(&other, of_five));
}

#[test]
fn what_is_older_than_all_that_is_remembered_is_not_used() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    let generation = purges.generation_of(0).unwrap();
    for number in 1..=KEPT_MAX as u64 {
        let entry = number.to_le_bytes();
        purges.carried_out(number, Covers::Model("another".into()), &entry);
    }
    assert!(!covered(&purges, generation));
    purges.carried_out(KEPT_MAX as u64 + 1, Covers::Model("another".into()), b"7");
    assert!(covered(&purges, generation));
}

#[test]
fn an_own_purge_is_told_until_the_log_has_it_and_again_if_it_is_lost() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    purges.tell(Covers::Model("m".into()));
    let purge = purges.next_untold().unwrap();
    let entry = purge.entry.clone();
    assert!(matches!(
        purges.read(&entry),
        Entry::CarriedOut(Covers::Model(_))
    ));
    assert!(matches!(
        FleetPurges::default().read(&entry),
        Entry::New(Covers::Model(_))
    ));
    purges.told(purge, 4);
    assert!(!purges.has_untold());
    // Until it is read it counts whatever its number is: the log may be another one.
    assert!(covered(&purges, 3 << 32 | 5));
    purges.carried_out(4, Covers::Model("m".into()), &entry);
    assert!(!covered(&purges, 3 << 32 | 5));
    purges.tell_again(4);
    assert!(!purges.has_untold());
    purges.tell_again(3);
    assert!(purges.next_untold().unwrap().entry == entry);
}

#[test]
fn what_was_read_before_it_was_told_does_not_cover_for_ever() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    purges.tell(Covers::Model("m".into()));
    let purge = purges.next_untold().unwrap();
    let entry = purge.entry.clone();
    purges.told(purge.clone(), 1);
    // The log is lost, and somebody else has told it again before.
    purges.tell_again(0);
    assert!(purges.has_untold());
    purges.begin(4, 0, true);
    purges.carried_out(1, Covers::Model("m".into()), &entry);
    purges.reached(1);
    assert!(!purges.has_untold());
    // Told all the same, it has the number that it has.
    purges.told(purge, 1);
    purges.reached(2);
    assert!(!covered(&purges, 4 << 32 | 1));
    assert!(!purges.has_untold());
}

#[test]
fn what_has_its_old_number_in_the_next_log_does_not_cover_for_ever() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.tell(Covers::Model("m".into()));
    let purge = purges.next_untold().unwrap();
    let entry = purge.entry.clone();
    purges.told(purge, 1);
    purges.carried_out(1, Covers::Model("m".into()), &entry);
    purges.tell_again(0);
    purges.begin(4, 0, true);
    purges.told(purges.next_untold().unwrap(), 1);
    assert!(purges.knew(1, &entry));
    purges.passed(1, &entry);
    purges.reached(1);
    assert!(!covered(&purges, 4 << 32 | 1));
    assert!(!purges.has_untold());
}

#[test]
fn what_was_told_and_is_not_where_it_should_be_is_told_again_but_not_for_ever() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    purges.tell(Covers::Model("m".into()));
    let mut times = 0;
    while let Some(purge) = purges.next_untold() {
        times += 1;
        assert!(times < 10);
        purges.told(purge, 1);
        // Its number is another's.
        purges.carried_out(1, Covers::Model("another".into()), b"another's");
        purges.reached(times);
    }
    assert!(times > 1);
}

#[test]
fn a_log_that_was_set_back_is_not_carried_out_once_more() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.carried_out(1, Covers::Model("m".into()), b"one");
    purges.carried_out(2, Covers::Model("m".into()), b"two");
    purges.begin(4, 0, true);
    assert!(purges.knew(1, b"one"));
    // A number that was given again.
    assert!(!purges.knew(2, b"another"));
    purges.passed(1, b"one");
    assert_eq!(purges.position(), Some((4, 1)));
}

#[test]
fn what_another_replica_told_is_told_again_by_those_who_read_it() {
    let (teller, reader) = (FleetPurges::default(), FleetPurges::default());
    reader.begin(3, 0, false);
    teller.tell(Covers::Model("m".into()));
    let entry = teller.next_untold().unwrap().entry;
    reader.carried_out(1, Covers::Model("m".into()), &entry);
    reader.tell_again(1);
    assert!(!reader.has_untold());
    reader.tell_again(0);
    assert!(reader.next_untold().unwrap().entry == entry);
    // More than can be told again one by one become one of everything.
    let reader = FleetPurges::default();
    reader.begin(3, 0, false);
    for number in 1..=KEPT_MAX as u64 + 1 {
        teller.tell(Covers::Tenant(number.to_le_bytes()));
        let purge = teller.next_untold().unwrap();
        reader.carried_out(number, purge.covers.clone(), &purge.entry);
        teller.told(purge, number);
    }
    reader.tell_again(KEPT_MAX as u64);
    assert!(reader.next_untold().unwrap().covers == Covers::All);
}

#[test]
fn entries_of_a_later_log_that_are_forgotten_count_against_all_before_it() {
    let purges = FleetPurges::default();
    purges.begin(3, 0, false);
    purges.reached(0);
    let before = purges.generation_of(0).unwrap();
    purges.begin(4, 0, true);
    purges.reached(0);
    for number in 1..=KEPT_MAX as u64 {
        let entry = number.to_le_bytes();
        purges.carried_out(number, Covers::Model("another".into()), &entry);
    }
    assert!(!covered(&purges, before));
    purges.carried_out(KEPT_MAX as u64 + 1, Covers::Model("another".into()), b"9");
    assert!(covered(&purges, before));
}

#[test]
fn a_log_that_is_not_what_it_was_is_noticed() {
    let purges = FleetPurges::default();
    let log = |last, entries: &[(u64, &'static str)]| {
        let entries = entries.iter();
        let entries =
            entries.map(|(number, entry)| (*number, Bytes::from_static(entry.as_bytes())));
        Log {
            name: None,
            last,
            entries: entries.collect(),
        }
    };
    purges.begin(3, 4, false);
    assert_eq!(purges.goes_on(&mut log(4, &[])), GoesOn::Yes);
    assert_eq!(purges.goes_on(&mut log(6, &[])), GoesOn::Gap);
    assert_eq!(purges.goes_on(&mut log(3, &[])), GoesOn::SetBack);
    purges.carried_out(5, Covers::All, b"five");
    let mut next = log(6, &[(5, "five"), (6, "six")]);
    assert_eq!(purges.goes_on(&mut next), GoesOn::Yes);
    assert_eq!(next.entries.len(), 1);
    assert_eq!(purges.goes_on(&mut log(5, &[(5, "five")])), GoesOn::Yes);
    // A number that was given again.
    assert_eq!(
        purges.goes_on(&mut log(6, &[(5, "another"), (6, "six")])),
        GoesOn::SetBack
    );
    assert_eq!(purges.goes_on(&mut log(9, &[(8, "eight")])), GoesOn::Gap);
    assert_eq!(
        purges.goes_on(&mut log(9, &[(5, "five"), (8, "eight")])),
        GoesOn::Gap
    );
    assert_eq!(purges.goes_on(&mut log(5, &[])), GoesOn::Gap);
}

#[test]
fn too_many_that_wait_become_one_of_everything() {
    let purges = FleetPurges::default();
    for _ in 0..=UNTOLD_MAX {
        purges.tell(Covers::Tenant([1; 8]));
    }
    assert!(purges.next_untold().unwrap().covers == Covers::All);
    assert_eq!(purges.untold().len(), 1);
}

#[test]
fn what_is_not_understood_covers_everything() {
    let purges = FleetPurges::default();
    for entry in [&b""[..], b"short", b"1234567812345678\x09"] {
        assert!(matches!(purges.read(entry), Entry::New(Covers::All)));
    }
}
