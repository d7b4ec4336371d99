//! Numbers as people read them.

use std::time::Duration;

/// The middle of several measurements of the same, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// # Panics
    /// When there are no values.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Self {
            median,
            least: values[0],
            most: values[values.len() - 1],
        }
    }

    /// `median (least–most)`.
    pub(crate) fn show(&self) -> String {
        let [median, least, most] = [self.median, self.least, self.most].map(share);
        format!("{median} ({least}–{most})")
    }
}

/// A number to three digits or so.
pub(crate) fn share(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.0 => return "0".into(),
        0.01.. => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// A time with its unit.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        1e6.. => format!("{} s", share(micros / 1e6)),
        1e3.. => format!("{} ms", share(micros / 1e3)),
        _ => format!("{} µs", share(micros)),
    }
}

/// A size with its unit.
pub(crate) fn bytes(bytes: usize) -> String {
    match bytes {
        0x4000_0000.. => format!("{} GiB", bytes >> 30),
        0x10_0000.. => format!("{} MiB", bytes >> 20),
        0x400.. => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Spread, bytes, share, time};
    use std::time::Duration;

    #[test]
    fn a_median_lies_in_the_middle() {
        let spread = Spread::of([3.0, 1.0, 10.0]);
        assert_eq!(spread.show(), "3.00 (1.00–10.0)");
        assert_eq!(Spread::of([1.0, 2.0]).median, 1.5);
    }

    #[test]
    fn numbers_have_about_three_digits_and_units() {
        assert_eq!(
            [0.0, 0.0123, 1.234, 12.34, 1234.0].map(share),
            ["0", "0.012", "1.23", "12.3", "1234"]
        );
        assert_eq!(time(Duration::from_micros(1500)), "1.50 ms");
        assert_eq!(
            [16, 65_536, 16 << 20, 1 << 30].map(bytes),
            ["16 B", "64 KiB", "16 MiB", "1 GiB"]
        );
    }
}
