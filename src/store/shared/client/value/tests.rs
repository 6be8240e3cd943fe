use proptest::prelude::*;

use super::*;

const MAX: usize = 8 * 1024 * 1024;

fn round(raw: &[u8], generation: u64) -> Encoded {
    let encoded = encode(raw, generation, *b"eightby8").unwrap();
    assert!(encoded.main.len() <= HEADER_LEN + CHUNK_BYTES);
    for chunk in &encoded.further {
        assert!(chunk.len() <= ID_LEN + CHUNK_BYTES);
    }
    let (header, decoded) = decode(&encoded.main, &encoded.further, MAX).unwrap();
    assert_eq!(decoded, raw);
    assert_eq!(header.generation, generation);
    assert_eq!(usize::from(header.chunks), 1 + encoded.further.len());
    encoded
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.push(state as u8);
    }
    out
}

#[test]
fn values_of_all_lengths_come_back() {
    for len in [
        0,
        1,
        CHUNK_BYTES - 1,
        CHUNK_BYTES,
        CHUNK_BYTES + 1,
        2 * CHUNK_BYTES,
        5 * CHUNK_BYTES + 17,
    ] {
        let noisy = round(&noise(len), 7);
        assert_eq!(noisy.further.len() + 1, chunks_of(len), "{len}");
        round(&vec![b'x'; len], u64::MAX);
    }
}

#[test]
fn what_repeats_is_stored_in_less() {
    let encoded = round(&b"data: {\"delta\":\"x\"}\n\n".repeat(10_000), 1);
    assert!(encoded.main.len() < 1000 && encoded.further.is_empty());
}

#[test]
fn every_changed_byte_is_noticed() {
    for raw in [noise(300), vec![b'a'; 300]] {
        let encoded = round(&raw, 3);
        for position in 0..encoded.main.len() {
            let mut damaged = encoded.main.clone();
            damaged[position] ^= 1;
            assert!(
                decode(&damaged, &encoded.further, MAX).is_err(),
                "{position}"
            );
        }
        for len in 0..encoded.main.len() {
            assert!(decode(&encoded.main[..len], &encoded.further, MAX).is_err());
        }
    }
}

#[test]
fn chunks_of_another_writing_are_not_put_together() {
    let raw = noise(2 * CHUNK_BYTES + 5);
    let one = encode(&raw, 1, *b"writing1").unwrap();
    let two = encode(&raw, 1, *b"writing2").unwrap();
    let damaged = Err(ValueError::Damaged);
    assert_eq!(decode(&one.main, &two.further, MAX), damaged);
    assert_eq!(decode(&one.main, &one.further[..1], MAX), damaged);
    let swapped = [one.further[1].clone(), one.further[0].clone()];
    assert_eq!(decode(&one.main, &swapped, MAX), damaged);
    let none: [Vec<u8>; 0] = [];
    assert_eq!(decode(&one.main, &none, MAX), damaged);
}

#[test]
fn strangers_and_other_versions_are_told_apart() {
    let none: [Vec<u8>; 0] = [];
    for stranger in [&b""[..], b"LLMS", b"hello", &[0; 100], &noise(1000)] {
        assert_eq!(decode(stranger, &none, MAX), Err(ValueError::Foreign));
    }
    let mut newer = round(b"answer", 1).main;
    newer[4] = VERSION + 1;
    assert_eq!(
        decode(&newer, &none, MAX),
        Err(ValueError::Version(VERSION + 1))
    );
}

/// A header that promises 1 byte, with a correct checksum, over 100 MB of zeros in 3 kB.
#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = zstd::bulk::compress(&vec![0; 100_000_000], 1).unwrap();
    let forge = |raw_len: u32| {
        let mut main = Vec::new();
        main.extend_from_slice(b"LLMS\x01\x01");
        main.extend_from_slice(&1u64.to_le_bytes());
        main.extend_from_slice(&raw_len.to_le_bytes());
        main.extend_from_slice(&(bomb.len() as u32).to_le_bytes());
        main.extend_from_slice(&1u16.to_le_bytes());
        main.extend_from_slice(b"eightby8");
        let mut checksum = Xxh3Default::new();
        checksum.update(&main);
        checksum.update(&bomb);
        main.extend_from_slice(&checksum.digest().to_le_bytes());
        main.extend_from_slice(&bomb);
        main
    };
    let none: [Vec<u8>; 0] = [];
    let whole = forge(100_000_000);
    assert_eq!(
        decode(&whole, &none, MAX),
        Err(ValueError::TooLarge(100_000_000))
    );
    assert_eq!(
        decode(&whole, &none, 100_000_000).unwrap().1.len(),
        100_000_000
    );
    assert_eq!(
        decode(&forge(1_000_000), &none, MAX),
        Err(ValueError::Damaged)
    );
}

#[test]
fn further_keys_count_up() {
    assert_eq!(chunk_key(b"llmc:{ab}", 1), b"llmc:{ab}:1");
    assert_eq!(chunk_key(b"llmc:{ab}", u16::MAX), b"llmc:{ab}:65535");
}

proptest! {
    #[test]
    fn any_value_comes_back(raw in prop::collection::vec(any::<u8>(), 0..5000), generation: u64) {
        round(&raw, generation);
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        further in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..4),
    ) {
        let _ = decode(&bytes, &further, MAX);
        let mut ours = b"LLMS\x01".to_vec();
        ours.extend_from_slice(&bytes);
        prop_assert!(decode(&ours, &further, MAX).is_err());
    }

    #[test]
    fn damage_is_noticed(
        raw in prop::collection::vec(any::<u8>(), 1..2000),
        position: prop::sample::Index,
        change in 1u8..,
    ) {
        let mut main = round(&raw, 5).main;
        let position = position.index(main.len());
        main[position] ^= change;
        let none: [Vec<u8>; 0] = [];
        prop_assert!(decode(&main, &none, MAX).is_err());
    }
}
