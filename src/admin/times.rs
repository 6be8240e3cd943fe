//! Times and durations in the words of operators.

use std::time::{Duration, UNIX_EPOCH};

/// The last millisecond of the year 9999: there is no way to write later ones.
const WRITABLE_MS_MAX: u64 = 253_402_300_799_999;

/// A time, such as `2026-11-24T16:23:02Z`.
pub fn written(ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms.min(WRITABLE_MS_MAX));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// When it was so long ago, in milliseconds since the Unix epoch: `7d`, `12h`, `1h 30m`.
pub fn ago(text: &str, now_ms: u64) -> Result<u64, String> {
    let span = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no length of time such as 30m, 12h or 7d"))?;
    let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Ok(now_ms.saturating_sub(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        assert_eq!(written(0), "1970-01-01T00:00:00Z");
        assert_eq!(written(u64::MAX), "9999-12-31T23:59:59Z");
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(ago("7d", 10 * day), Ok(3 * day));
        assert_eq!(ago("1h 30m", day), Ok(day - 90 * 60 * 1000));
        assert_eq!(ago("100years", day), Ok(0));
        assert_eq!(ago("0s", day), Ok(day));
        for bad in ["", "7", "soon", "-1d", "7 d d", "99999999999999999999y"] {
            assert!(ago(bad, day).is_err(), "{bad}");
        }
    }
}
