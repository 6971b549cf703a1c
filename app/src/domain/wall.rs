//! The wall clock's reading as the timestamps that everything else uses.

use std::time::SystemTime;

use jiff::Timestamp;

/// `wall` in whole microseconds, as the database keeps times; a clock outside the years that exist reads as 1970.
#[must_use]
pub fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall)
        .and_then(|time| Timestamp::from_microsecond(time.as_microsecond()))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::timestamp;
    use std::time::{Duration, SystemTime};

    #[test]
    fn nanoseconds_are_cut() {
        let time = timestamp(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_500_999));
        assert_eq!(time.as_nanosecond(), 1_500_000);
    }
}
