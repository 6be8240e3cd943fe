//! Room for operations: beyond it there is an error at once instead of a queue.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::trouble::Trouble;

/// Operations at once; a server that is well answers in less time than it takes to start so many.
pub const IN_FLIGHT_MAX: usize = 1024;
/// Bytes of values on their way to servers.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Room for operations and their bytes.
#[derive(Default)]
pub struct Seats {
    operations: AtomicUsize,
    bytes: AtomicUsize,
}

/// Room for one operation.
pub struct Seat<'a> {
    seats: &'a Seats,
    bytes: usize,
}

impl Seats {
    /// Operations under way.
    pub fn taken(&self) -> usize {
        self.operations.load(Relaxed)
    }

    /// Room for one operation with so many bytes, or an error at once.
    pub fn take(&self, bytes: usize) -> Result<Seat<'_>, Trouble> {
        let seat = Seat { seats: self, bytes };
        let operations = self.operations.fetch_add(1, Relaxed);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        // The seat gives back what was added.
        if operations >= IN_FLIGHT_MAX || before.saturating_add(bytes) > IN_FLIGHT_BYTES_MAX {
            return Err(Trouble::Busy);
        }
        Ok(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.seats.operations.fetch_sub(1, Relaxed);
        self.seats.bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_given_back() {
        let seats = Seats::default();
        let taken: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| seats.take(1).unwrap()).collect();
        assert_eq!(seats.take(0).err(), Some(Trouble::Busy));
        drop(taken);
        assert_eq!(seats.taken(), 0);
        assert_eq!(
            seats.take(IN_FLIGHT_BYTES_MAX + 1).err(),
            Some(Trouble::Busy)
        );
        assert!(seats.take(IN_FLIGHT_BYTES_MAX).is_ok());
    }
}
