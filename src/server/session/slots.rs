//! Lists whose places are used again, and written where they will be read: what is
//! pushed to a `Vec` is built elsewhere and copied, at once, which takes longer than
//! to write it.

/// Places of which the first ones are filled.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<T>,
    filled: usize,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            filled: 0,
        }
    }
}

impl<T: Default> Slots<T> {
    /// One more, as whoever filled it before has left it.
    #[inline]
    pub(crate) fn next(&mut self) -> &mut T {
        if self.filled == self.places.len() {
            self.places.push(T::default());
        }
        self.filled += 1;
        &mut self.places[self.filled - 1]
    }

    pub(crate) fn push(&mut self, value: T) {
        *self.next() = value;
    }

    /// The last one was not needed.
    pub(crate) fn take_back(&mut self) {
        self.filled -= 1;
    }

    pub(crate) const fn len(&self) -> usize {
        self.filled
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    pub(crate) fn filled(&mut self) -> &mut [T] {
        &mut self.places[..self.filled]
    }

    /// None is filled any more; what they hold stays until they are filled again.
    pub(crate) const fn forget(&mut self) {
        self.filled = 0;
    }
}

impl<T: Default> AsMut<[T]> for Slots<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self.filled()
    }
}

impl<T> IntoIterator for Slots<T> {
    type Item = T;
    type IntoIter = std::iter::Take<std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.places.into_iter().take(self.filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_again_and_only_those_that_are_filled_are_seen() {
        let mut slots = Slots::default();
        slots.push(1);
        *slots.next() = 2;
        slots.push(3);
        slots.take_back();
        assert_eq!(slots.filled(), [1, 2]);
        assert_eq!(slots.len(), 2);
        slots.forget();
        assert!(slots.is_empty() && slots.capacity() >= 3);
        assert_eq!(*slots.next(), 1, "as it was left");
        *slots.next() = 5;
        assert_eq!(slots.into_iter().collect::<Vec<_>>(), [1, 5]);
    }
}
