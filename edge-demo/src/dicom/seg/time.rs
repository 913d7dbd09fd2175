//! Dates and times as DICOM writes them.

/// Whether this is a date, YYYYMMDD.
pub(super) fn is_date(text: &[u8]) -> bool {
    text.len() == 8 && text.iter().all(u8::is_ascii_digit)
}

/// Whether this is a time, HHMMSS with or without a fraction.
pub(super) fn is_time(text: &[u8]) -> bool {
    let (whole, fraction) = text.split_at(text.len().min(6));
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    whole.len() == 6 && digits(whole) && (fraction.is_empty() || fraction[0] == b'.' && digits(&fraction[1..]))
}

/// Date and time now (UTC).
pub(super) fn now() -> (String, String) {
    let seconds = seconds();
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    (date(days), format!("{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60))
}

/// Seconds since 1970.
#[cfg(not(all(target_arch = "wasm32", target_os = "unknown")))]
fn seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| time.as_secs())
}

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
use crate::web::seconds;

/// The date so many days after 1970-01-01.
fn date(days: u64) -> String {
    // Counted from 0000-03-01, so that a leap day is the last of its year; 146097 days are 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + 400 * era + month / 10, (month + 2) % 12 + 1);
    format!("{year:04}{month:02}{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_follow_the_calendar() {
        // From Python's datetime.
        for (days, expected) in [(0, "19700101"), (11_016, "20000229"), (20_819, "20270101"), (47_540, "21000228")] {
            assert_eq!(date(days), expected);
        }
        assert_eq!(date(47_541), "21000301");
        assert!(is_date(b"20040119") && !is_date(b"2004.01.19"));
        assert!(is_time(b"072730.5") && is_time(b"072730") && !is_time(b"0727") && !is_time(b"07:27:30"));
    }
}
