use bytemuck::Pod;
use candle_core::Result;
use memmap2::MmapMut;
use std::ops::Range;

/// Bytes of a cache line, on which each slice begins.
const LINE: usize = 64;

/// Memory that is read again and again, in large pages where the system has them: each page of 4 KiB costs a look into its
/// tables, and a virtual machine two.
#[derive(Debug)]
pub(super) struct Pages {
    map: MmapMut,
    used: usize,
}

impl Pages {
    /// Room for slices of so many bytes each.
    pub(super) fn new(lengths: impl Iterator<Item = usize>) -> Result<Self> {
        let bytes: usize = lengths.map(|length| length.next_multiple_of(LINE)).sum();
        let map = MmapMut::map_anon(bytes.max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no large pages");
        }
        Ok(Self { map, used: 0 })
    }

    /// Writes the next slice; gives the bytes where it stands.
    pub(super) fn push<T: Pod>(&mut self, values: impl Iterator<Item = T>) -> Range<usize> {
        let (first, mut end) = (self.used, self.used);
        for value in values {
            let bytes = bytemuck::bytes_of(&value);
            self.map[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        }
        self.used = end.next_multiple_of(LINE);
        first..end
    }

    /// A slice that was written with this type.
    pub(super) fn slice<T: Pod>(&self, bytes: &Range<usize>) -> &[T] {
        bytemuck::cast_slice(&self.map[bytes.clone()])
    }
}
