use std::collections::HashMap;

/// What a step takes and gives back: for the rows of the layers, and for those of the output projection.
#[derive(Default)]
pub(in crate::train) struct Memory {
    pub(super) layers: Buffers,
    pub(super) head: Buffers,
}

/// Memory for rows of floats that one layer gives back and the next one takes, and that the next micro-batch takes again:
/// fresh memory has to be cleared by the system, which costs more than what is computed in it.
#[derive(Default)]
pub(super) struct Buffers {
    rows: usize,
    /// Rows that every buffer has room for.
    room: usize,
    free: HashMap<usize, Vec<Vec<f32>>>,
}

impl Buffers {
    /// Buffers of so many rows follow. More than ever before: what is there is too small and is dropped.
    pub(super) fn begin(&mut self, rows: usize) {
        if rows > self.room {
            self.room = rows;
            self.free.clear();
        }
        self.rows = rows;
    }

    /// Rows of `width` floats, which hold anything.
    pub(super) fn take(&mut self, width: usize) -> Vec<f32> {
        let mut buffer = self
            .free
            .get_mut(&width)
            .and_then(Vec::pop)
            .unwrap_or_else(|| Vec::with_capacity(self.room * width));
        buffer.resize(self.rows * width, 0.0);
        buffer
    }

    /// Rows as wide as those of another buffer.
    pub(super) fn take_as(&mut self, other: &[f32]) -> Vec<f32> {
        self.take(other.len() / self.rows.max(1))
    }

    /// Takes back what is not needed any more.
    pub(super) fn give(&mut self, buffer: Vec<f32>) {
        if !buffer.is_empty() && self.rows > 0 {
            let width = buffer.len() / self.rows;
            self.free.entry(width).or_default().push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again() {
        let mut buffers = Buffers::default();
        buffers.begin(4);
        let one = buffers.take(3);
        assert_eq!(one.len(), 12);
        let place = one.as_ptr();
        buffers.give(one);
        buffers.begin(2);
        let again = buffers.take(3);
        assert_eq!((again.len(), again.as_ptr()), (6, place));
        buffers.give(again);
        buffers.begin(5);
        assert_eq!(buffers.take(3).len(), 15);
    }
}
