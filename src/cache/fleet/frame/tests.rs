use super::*;
use proptest::prelude::*;

fn frames() -> Vec<Frame> {
    vec![
        Frame::Head(HeadFrame {
            stored_ms: Some(7),
            content_length: None,
            headers: vec![(
                HeaderName::from_static("content-type"),
                HeaderValue::from_static("text/event-stream"),
            )],
        }),
        Frame::Piece(b"data: {}\n\n".to_vec()),
        Frame::End(10),
        Frame::Stored,
        Frame::Break,
    ]
}

fn written() -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames() {
        let offset = out.len() as u64;
        encode(&frame, offset, &mut out);
    }
    out
}

#[test]
fn frames_come_back_one_by_one() {
    let (out, mut at, mut read) = (written(), 0, Vec::new());
    while let Some((frame, length)) = decode(&out[at..], at as u64).unwrap() {
        read.push(frame);
        at += length;
    }
    assert_eq!((read, at), (frames(), out.len()));
}

#[test]
fn a_frame_that_is_not_all_there_is_waited_for() {
    let mut out = Vec::new();
    encode(&Frame::Piece(vec![7; 100]), 0, &mut out);
    for cut in 0..out.len() {
        assert_eq!(decode(&out[..cut], 0), Ok(None), "{cut}");
    }
}

#[test]
fn every_flipped_bit_and_every_other_place_is_noticed() {
    let mut out = Vec::new();
    encode(&Frame::Piece(b"data".to_vec()), 5, &mut out);
    assert_eq!(decode(&out, 6), Err(Damaged));
    for bit in 0..out.len() * 8 {
        let mut bad = out.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // A longer length waits for what never comes; who waits for too long gives up.
        assert!(matches!(decode(&bad, 5), Err(Damaged) | Ok(None)), "{bit}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, 0);
    }
}
