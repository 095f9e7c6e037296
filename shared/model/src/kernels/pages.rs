use candle_core::Result;
use memmap2::MmapMut;

/// Values of a cache line, on which each slice begins.
const LINE: usize = 64 / size_of::<f32>();

/// Memory for float32 that is read again and again, in large pages where the system has them: each page of 4 KiB costs a look
/// into its tables, and a virtual machine two.
#[derive(Debug)]
pub(super) struct Pages {
    map: MmapMut,
    used: usize,
}

impl Pages {
    /// Room for slices of these lengths.
    pub(super) fn new(lengths: impl Iterator<Item = usize>) -> Result<Self> {
        let values: usize = lengths.map(|length| length.next_multiple_of(LINE)).sum();
        let map = MmapMut::map_anon((values * size_of::<f32>()).max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no large pages");
        }
        Ok(Self { map, used: 0 })
    }

    /// Writes the next slice; gives where it begins.
    pub(super) fn push(&mut self, values: impl Iterator<Item = f32>, length: usize) -> usize {
        let first = self.used;
        let all: &mut [f32] = bytemuck::cast_slice_mut(&mut self.map);
        for (place, value) in all[first..first + length].iter_mut().zip(values) {
            *place = value;
        }
        self.used = first + length.next_multiple_of(LINE);
        first
    }

    /// All slices.
    pub(super) fn values(&self) -> &[f32] {
        bytemuck::cast_slice(&self.map)
    }
}
