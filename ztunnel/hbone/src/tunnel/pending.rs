//! Bytes that a socket has not taken yet.

/// Bytes that wait until their socket takes more. Holds no memory while there are none.
#[derive(Debug, Default)]
pub struct Pending {
    bytes: Vec<u8>,
    /// Taken up to here.
    at: usize,
}

impl Pending {
    /// Whether nothing waits.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes wait.
    pub const fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The bytes that wait, oldest first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// Puts bytes behind those that wait.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving what is left costs less than keeping room for what is gone.
        if self.at > self.bytes.len() / 2 {
            self.bytes.drain(..self.at);
            self.at = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes were taken.
    pub fn take(&mut self, count: usize) {
        self.at += count;
        if self.at >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_in_which_they_came() {
        let mut pending = Pending::default();
        let mut taken = Vec::new();
        for round in 0..100_u8 {
            pending.push(&[round; 7]);
            let count = pending.len().min(5);
            taken.extend_from_slice(&pending.bytes()[..count]);
            pending.take(count);
        }
        taken.extend_from_slice(pending.bytes());
        let all: Vec<u8> = (0..100).flat_map(|round| [round; 7]).collect();
        assert_eq!(taken, all);
    }

    #[test]
    fn nothing_is_held_when_all_is_taken() {
        let mut pending = Pending::default();
        pending.push(&[0; 1 << 20]);
        pending.take(1 << 20);
        assert!(pending.is_empty());
        assert_eq!(pending.bytes.capacity(), 0);
    }
}
