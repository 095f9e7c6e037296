use crate::decoder::{Decoder, KvCache};
use crate::error::Result;
use crate::lora::Adapter;
use std::sync::Arc;

/// Tokens that may be lost when a cache is taken over rather than copied.
const LOSS: usize = 8;
/// Bytes that idle caches hold at most, apart from the latest one.
const IDLE_BYTES: usize = 256 << 20;

/// KV caches of finished requests, kept because the next prompt often starts the same way.
pub(super) struct Prefixes {
    /// The one used longest ago first.
    idle: Vec<Idle>,
    limit: usize,
}

struct Idle {
    cache: KvCache,
    adapter: Option<Arc<Adapter>>,
}

/// Whether two requests compute the same numbers for the same tokens.
fn same(a: Option<&Arc<Adapter>>, b: Option<&Arc<Adapter>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Prefixes {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            idle: Vec::new(),
            limit,
        }
    }

    /// A cache that holds as much of `prompt` as any cache does, but never its last token, whose logits are wanted.
    pub(super) fn start<'a>(
        &mut self,
        decoder: &Decoder,
        prompt: &[u32],
        adapter: Option<&Arc<Adapter>>,
        busy: impl Iterator<Item = (&'a KvCache, Option<&'a Arc<Adapter>>)>,
    ) -> Result<KvCache> {
        let usable =
            |cache: &KvCache| shared(cache.tokens(), prompt).min(prompt.len().saturating_sub(1));
        let idle = self
            .idle
            .iter()
            .enumerate()
            .filter(|(_, idle)| same(idle.adapter.as_ref(), adapter));
        let best_idle = idle.map(|(index, idle)| (usable(&idle.cache), index)).max();
        let best_busy = busy
            .filter(|(_, other)| same(*other, adapter))
            .map(|(cache, _)| (usable(cache), cache))
            .max_by_key(|best| best.0);
        match (best_idle, best_busy) {
            (idle, Some((count, cache))) if count > idle.map_or(0, |best| best.0) => {
                cache.copy_prefix(count)
            }
            (Some((count, index)), _) if count > 0 => self.reuse(index, count),
            _ => decoder.new_cache(),
        }
    }

    fn reuse(&mut self, index: usize, count: usize) -> Result<KvCache> {
        let len = self.idle[index].cache.len();
        if len - count > LOSS && self.limit > 0 {
            let idle = self.idle.remove(index);
            let copy = idle.cache.copy_prefix(count);
            self.idle.push(idle);
            return copy;
        }
        let mut cache = self.idle.remove(index).cache;
        cache.truncate(count);
        Ok(cache)
    }

    /// Keeps the cache of a finished request.
    pub(super) fn keep(&mut self, cache: KvCache, adapter: Option<Arc<Adapter>>) {
        if self.limit == 0 || cache.is_empty() {
            return;
        }
        // A cache whose tokens another one begins with adds nothing.
        self.idle.retain(|idle| {
            !(same(idle.adapter.as_ref(), adapter.as_ref())
                && cache.tokens().starts_with(idle.cache.tokens()))
        });
        self.idle.push(Idle { cache, adapter });
        let too_large = |idle: &[Idle]| {
            idle.iter()
                .map(|idle| idle.cache.size_in_bytes())
                .sum::<usize>()
                > IDLE_BYTES
        };
        while self.idle.len() > self.limit || (self.idle.len() > 1 && too_large(&self.idle)) {
            self.idle.remove(0);
        }
    }
}
