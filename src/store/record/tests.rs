use super::*;
use proptest::prelude::*;

fn record() -> Record {
    Record {
        key: Key::from_bytes([7; 32]),
        stored_ms: 1_000,
        expires_ms: 9_000,
        generation: 3,
        about: Arc::new(About::new(
            "chat",
            Some("gpt-4o"),
            Some("evals"),
            [1; 8],
            [2; 8],
        )),
        status: 200,
        stream: true,
        headers: vec![(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("text/event-stream"),
        )],
        body: Bytes::from_static(b"data: {}\n\ndata: [DONE]\n\n"),
        chunks: vec![Chunk { end: 10, at_ms: 0 }, Chunk { end: 24, at_ms: 20 }],
        usage: Some((3, 5)),
    }
}

#[test]
fn a_record_comes_back_as_it_was() {
    let record = record();
    assert_eq!(Record::decode(&record.encode()), Ok(record.clone()));
    assert_eq!(
        Record::decode_for(&record.key, &record.encode()),
        Ok(record)
    );
}

#[test]
fn another_key_is_refused() {
    let other = Key::from_bytes([8; 32]);
    assert_eq!(
        Record::decode_for(&other, &record().encode()),
        Err(RecordError::Key)
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = record().encode();
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        assert!(Record::decode(&bad).is_err(), "bit {at} went unnoticed");
    }
}

#[test]
fn every_cut_is_noticed() {
    let good = record().encode();
    for len in 0..good.len() {
        assert!(
            Record::decode(&good[..len]).is_err(),
            "a cut at {len} went unnoticed"
        );
    }
}

#[test]
fn another_format_version_says_so() {
    let mut bytes = record().encode();
    bytes[4] = 1;
    assert_eq!(Record::decode(&bytes), Err(RecordError::Version(1)));
}

proptest! {
    #[test]
    fn any_record_comes_back(
        key in any::<[u8; 32]>(),
        stored_ms in any::<u64>(),
        expires_ms in any::<u64>(),
        generation in any::<u64>(),
        names in proptest::collection::vec("\\PC{0,60}", 3),
        digests in any::<[[u8; 8]; 2]>(),
        status in 200u16..300,
        stream in any::<bool>(),
        body in proptest::collection::vec(any::<u8>(), 0..4096),
        usage in proptest::option::of(any::<(u64, u64)>()),
        values in proptest::collection::vec("[ -~]{0,40}", 0..8),
    ) {
        let headers = values
            .iter()
            .map(|v| (HeaderName::from_static("x-test"), HeaderValue::from_str(v).unwrap()))
            .collect();
        let chunks = vec![Chunk { end: body.len() as u32, at_ms: 1 }];
        let [tenant, question] = digests;
        let about = Arc::new(About::new(&names[0], Some(&names[1]), Some(&names[2]), tenant, question));
        let record = Record {
            key: Key::from_bytes(key), stored_ms, expires_ms, generation, about, status, stream, headers,
            body: body.into(), chunks, usage,
        };
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Record::decode(&bytes);
    }

    /// With a checksum that fits, the fields themselves must still be judged safely.
    #[test]
    fn arbitrary_fields_under_a_good_checksum_never_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..512),
    ) {
        let mut bytes = [&MAGIC[..], &FORMAT_VERSION.to_le_bytes(), &tail].concat();
        let checksum = xxh3_64(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        if let Ok(record) = Record::decode(&bytes) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }
}
