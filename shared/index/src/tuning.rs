//! How both dense engines are set up, so that they answer alike.

/// Vectors of less than this are searched one by one, exactly; a graph (HNSW) is built for more, and a filter that
/// leaves less is answered exactly. Measured with `examples/scale.rs`.
pub(crate) const EXACT_KB: u32 = 48 << 10;
/// Links per point of the graph.
pub(crate) const LINKS: u32 = 16;
/// Neighbours considered while a point is linked.
pub(crate) const BUILD_WIDTH: u32 = 128;
/// Candidates followed while a question is searched.
pub(crate) const SEARCH_WIDTH: usize = 128;
/// Graphs that stand side by side before two are built into one: more save building, fewer save searching.
pub(crate) const SEGMENTS: u32 = 8;
