use super::*;

fn text(len: usize) -> Vec<u8> {
    let words = (0..).map(|n: u64| format!("{} ", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    words.flat_map(String::into_bytes).take(len).collect()
}

#[test]
fn what_is_encoded_is_decoded_however_it_is_cut() {
    for coding in Coding::ALL {
        for len in [0, 1, 1000, STEP_BYTES, 5 * STEP_BYTES + 7] {
            let body = text(len);
            let encoded = coding.encode(&body).unwrap();
            assert_eq!(
                coding.decode(&encoded, len),
                Ok(body.clone()),
                "{coding:?} {len}"
            );
            if len > 0 {
                assert_eq!(coding.decode(&encoded, len - 1), Err(DecodeError::TooLong));
            }
            for size in [1, 3, 1000] {
                let mut decoder = Decoder::new(coding).unwrap();
                let mut decoded = Vec::new();
                for piece in encoded.chunks(size) {
                    assert!(!decoder.is_done(), "{coding:?} {len}");
                    let mut keep = |piece: &[u8]| {
                        decoded.extend_from_slice(piece);
                        Ok(())
                    };
                    decoder.push(piece, &mut keep).unwrap();
                }
                assert!(decoder.is_done(), "{coding:?} {len}");
                assert!(decoded == body, "{coding:?} {len} {size}");
            }
        }
    }
}

#[test]
fn what_is_cut_longer_or_something_else_is_refused() {
    let body = text(3000);
    for coding in Coding::ALL {
        let encoded = coding.encode(&body).unwrap();
        for end in 0..encoded.len() {
            let cut = coding.decode(&encoded[..end], 1 << 20);
            assert_eq!(cut, Err(DecodeError::Garbled), "{coding:?} {end}");
        }
        for behind in [&b"x"[..], b"\0", &encoded] {
            let longer = [&encoded, behind].concat();
            let found = coding.decode(&longer, 1 << 20);
            assert_eq!(
                found,
                Err(DecodeError::Garbled),
                "{coding:?} {}",
                behind.len()
            );
        }
        assert_eq!(
            coding.decode(b"{\"model\":1}", 1 << 20),
            Err(DecodeError::Garbled)
        );
        assert_eq!(coding.decode(b"", 1 << 20), Err(DecodeError::Garbled));
    }
}

#[test]
fn a_body_that_grows_beyond_the_factor_is_refused() {
    let zeros = vec![0; 64 << 20];
    for coding in Coding::ALL {
        let encoded = coding.encode(&zeros).unwrap();
        assert!(
            encoded.len() * RATIO_MAX < zeros.len(),
            "{coding:?} {}",
            encoded.len()
        );
        assert_eq!(
            coding.decode(&encoded, usize::MAX),
            Err(DecodeError::TooLong)
        );
    }
}

#[test]
fn the_best_offer_counts() {
    for (offer, expected) in [
        ("gzip, deflate", Some(Coding::Gzip)),
        ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
        ("gzip;q=1.0, br;q=0.5", Some(Coding::Gzip)),
        ("GZIP", Some(Coding::Gzip)),
        ("zstd;q=0, br", Some(Coding::Brotli)),
        ("*", Some(Coding::Zstd)),
        ("*;q=0.1, gzip;q=0", Some(Coding::Zstd)),
        ("identity", None),
        ("gzip;q=0", None),
        ("gzip;q=7", None),
        ("deflate", None),
        ("", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(offer));
        assert_eq!(Coding::accepted(&headers), expected, "{offer}");
    }
    assert_eq!(Coding::accepted(&HeaderMap::new()), None);
}

#[test]
fn only_one_known_coding_is_one() {
    for (values, expected) in [
        (&["gzip"][..], Some(Coding::Gzip)),
        (&["x-gzip"], Some(Coding::Gzip)),
        (&["Br"], Some(Coding::Brotli)),
        (&["zstd"], Some(Coding::Zstd)),
        (&["gzip, br"], None),
        (&["gzip", "br"], None),
        (&["deflate"], None),
        (&["identity"], None),
    ] {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(Coding::of(&headers), expected, "{values:?}");
    }
}
