/// Some things of a longer list, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// At most as many as were asked for.
    pub items: Vec<T>,
    /// Whether more follow the last one.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// The first `limit` of `items`, of which one more than `limit` was fetched to see whether more follow.
    pub(crate) fn cut(mut items: Vec<T>, limit: u32) -> Self {
        let limit = limit as usize;
        let has_more = items.len() > limit;
        items.truncate(limit);
        Self { items, has_more }
    }
}
