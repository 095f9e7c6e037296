use pdfium_render::prelude::{PdfBookmark, PdfDocument};
use std::collections::HashMap;

/// Bookmarks that are looked at: more are an attack or of no use.
const MAX_BOOKMARKS: usize = 5000;

/// The bookmarks of a document: the levels (from 1) by title in plain form, each with its page (from 0) where it names one.
pub(crate) fn read(document: &PdfDocument<'_>) -> HashMap<String, Vec<(u8, Option<usize>)>> {
    let mut found: HashMap<String, Vec<(u8, Option<usize>)>> = HashMap::new();
    let mut open: Vec<(PdfBookmark<'_>, u8)> = document
        .bookmarks()
        .root()
        .into_iter()
        .map(|root| (root, 1))
        .collect();
    // Bookmarks can be linked in a circle; the count ends it.
    let mut count = 0;
    while let Some((bookmark, level)) = open.pop() {
        count += 1;
        if count > MAX_BOOKMARKS {
            break;
        }
        let page = bookmark
            .destination()
            .and_then(|destination| destination.page_index().ok());
        let page = page.and_then(|page| usize::try_from(page).ok());
        if let Some(title) = bookmark
            .title()
            .map(|title| plain(&title))
            .filter(|title| !title.is_empty())
        {
            found.entry(title).or_default().push((level.min(6), page));
        }
        open.extend(bookmark.next_sibling().map(|next| (next, level)));
        open.extend(
            bookmark
                .first_child()
                .map(|child| (child, level.saturating_add(1))),
        );
    }
    found
}

/// The letters and digits of a title, lowercase: bookmarks and headings differ in spaces, dots and case.
pub(crate) fn plain(title: &str) -> String {
    title
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
