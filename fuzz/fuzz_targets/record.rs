//! No bytes make the decoders panic, and what they accept is encoded to the same: records, and the rows
//! and totals beside them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_cache_server::store::record::Record;
use llm_cache_server::store::row::{Row, Totals};
use xxhash_rust::xxh3::xxh3_64;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    // No mutation finds a checksum that fits, so here is one.
    check(&[bytes, &xxh3_64(bytes).to_le_bytes()].concat());
    if let Ok(row) = Row::decode(bytes) {
        assert_eq!(row.encode(), bytes);
    }
    if let Ok(totals) = Totals::decode(bytes) {
        assert_eq!(totals.encode(), bytes[..48]);
    }
});

fn check(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        let again = Record::decode(&record.encode()).expect("what was read can be written");
        assert_eq!(again, record);
    }
}
