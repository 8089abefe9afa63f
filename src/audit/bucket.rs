//! Say how many records there may be in a time.

use std::time::Duration;

use tokio::time::Instant;

/// So many at once, and one more in each interval.
#[derive(Debug)]
pub(crate) struct Bucket {
    interval: Duration,
    burst: u32,
    /// When it is full again; `None` if it always was.
    full_at: Option<Instant>,
}

impl Bucket {
    /// Full.
    pub(crate) const fn new(interval: Duration, burst: u32) -> Self {
        Self { interval, burst, full_at: None }
    }

    /// Takes one out, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.map_or(now, |at| at.max(now));
        let Some(after) = full_at.checked_add(self.interval) else {
            return false;
        };
        if after.duration_since(now) > self.interval.saturating_mul(self.burst) {
            return false;
        }
        self.full_at = Some(after);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_bucket_has_its_burst_and_is_filled_again_one_by_one() {
        let mut bucket = Bucket::new(Duration::from_millis(100), 5);
        let mut taken = || (0..100).filter(|_| bucket.take(Instant::now())).count();
        assert_eq!(taken(), 5);
        tokio::time::advance(Duration::from_millis(99)).await;
        assert_eq!(taken(), 0);
        tokio::time::advance(Duration::from_millis(151)).await;
        assert_eq!(taken(), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(taken(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_and_the_smallest_are_buckets_too() {
        let mut never = Bucket::new(Duration::MAX, 1);
        assert!(!never.take(Instant::now()), "an interval that no clock can count");
        let mut free = Bucket::new(Duration::ZERO, 1);
        assert!((0..1_000).all(|_| free.take(Instant::now())));
        let mut none = Bucket::new(Duration::from_secs(1), 0);
        assert!(!none.take(Instant::now()));
    }
}
