/// Packs the examples of a step into micro-batches of at most `max_tokens` tokens together, as few as first fit in order of
/// decreasing length finds. The decoder computes the examples of one side by side, without padding and without attention
/// from one to another.
///
/// # Guarantees
/// Every index of `lengths` is in exactly one micro-batch; an example longer than `max_tokens` is alone in its own; the same
/// lengths always give the same micro-batches.
pub fn micro_batches(lengths: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(lengths.get(*index).copied()));
    let mut batches: Vec<(usize, Vec<usize>)> = Vec::new();
    for index in order {
        let length = lengths.get(index).copied().unwrap_or(0);
        let room = batches
            .iter_mut()
            .find(|(tokens, _)| *tokens + length <= max_tokens);
        match room {
            Some((tokens, batch)) => {
                *tokens += length;
                batch.push(index);
            }
            None => batches.push((length, vec![index])),
        }
    }
    batches.into_iter().map(|(_, batch)| batch).collect()
}
