//! Latencies of many requests.

use std::time::Duration;

use hdrhistogram::Histogram;

/// From 1 ns to a minute, to three digits.
#[derive(Clone, Debug)]
pub(crate) struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Self(histogram.expect("the bounds are valid"))
    }
}

impl Latency {
    /// So many requests took so long.
    pub(crate) fn record(&mut self, nanos: u64, requests: u64) {
        self.0.saturating_record_n(nanos.max(1), requests);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// How long the quickest `share` of the requests took at most; nothing is
    /// known if there was none.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let nanos = self.0.value_at_quantile(share);
        (!self.0.is_empty()).then(|| Duration::from_nanos(nanos))
    }
}
