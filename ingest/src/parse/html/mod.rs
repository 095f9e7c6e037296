//! HTML → blocks: what a reader sees, without what only moves him around the site.

mod element;
mod meta;
mod reader;
mod table;
mod walk;

use super::blocks::{Block, Composer};
use super::encoding::decode;
use super::error::ParseError;
use super::settings::Limits;
use super::{Read, decode_text};
use ego_tree::NodeRef;
use element::Keep;
use scraper::{Html, Node};
use walk::{inline_text, text_length};

/// Share of a page's text, in percent, that its main element must hold to stand for the page.
const MAIN_SHARE: usize = 60;

/// The text of the page in `bytes`; `label` is the encoding that its sender names.
pub(crate) fn parse(
    bytes: &[u8],
    label: Option<&str>,
    limits: &Limits,
) -> Result<Read, ParseError> {
    let own = meta::declared_encoding(bytes);
    let decoded = if label.is_some() || own.is_some() {
        decode(bytes, label.or(own.as_deref()))
    } else {
        decode_text(bytes, None)?
    };
    let (text, cut) = walk::limited_depth(&decoded.text, limits.max_depth);
    let page = Html::parse_document(&text);
    let mut blocks = page_blocks(&page, Keep::Content);
    if blocks.is_empty() {
        blocks = page_blocks(&page, Keep::Everything);
    }
    let composed = Composer::compose(blocks, limits.max_text)?;
    let mut warnings: Vec<String> = decoded.warning().into_iter().collect();
    if cut {
        warnings.push(format!(
            "elements nested deeper than {} were flattened",
            limits.max_depth
        ));
    }
    Ok(Read {
        composed,
        title: title(&page),
        language: language(&page),
        warnings,
    })
}

/// The blocks of an HTML fragment inside another format.
pub(crate) fn fragment(html: &str, limits: &Limits) -> Vec<Block> {
    let (text, _) = walk::limited_depth(html, limits.max_depth);
    let page = Html::parse_document(&text);
    reader::read(page.tree.root(), Keep::Everything)
}

/// The visible text of a piece of HTML, on one line.
pub(crate) fn fragment_text(html: &str) -> String {
    inline_text(Html::parse_fragment(html).tree.root(), Keep::Everything)
}

fn page_blocks(page: &Html, keep: Keep) -> Vec<Block> {
    let root = page.tree.root();
    let body = find(root, "body").unwrap_or(root);
    let Some(main) = main_element(body, keep) else {
        return reader::read(body, keep);
    };
    let mut blocks = reader::read(main, keep);
    let has_top = blocks
        .iter()
        .any(|block| matches!(block, Block::Heading { level: 1, .. }));
    if let (false, Some(heading)) = (has_top, find(body, "h1")) {
        blocks.insert(
            0,
            Block::Heading {
                level: 1,
                text: inline_text(heading, keep),
            },
        );
    }
    blocks
}

/// The one element that says it is the main part, where it holds most of the text.
fn main_element(body: NodeRef<'_, Node>, keep: Keep) -> Option<NodeRef<'_, Node>> {
    let candidates: [fn(&scraper::node::Element) -> bool; 2] = [
        |element| element.name() == "main" || element.attr("role") == Some("main"),
        |element| element.name() == "article",
    ];
    let whole = text_length(body, keep);
    candidates.into_iter().find_map(|is_main| {
        let mut found = body
            .descendants()
            .filter(|node| node.value().as_element().is_some_and(is_main));
        let main = found.next().filter(|_| found.next().is_none())?;
        (text_length(main, keep) * 100 >= whole * MAIN_SHARE).then_some(main)
    })
}

fn title(page: &Html) -> Option<String> {
    let root = page.tree.root();
    let own = find(root, "head")
        .and_then(|head| find(head, "title"))
        .map(|title| inline_text(title, Keep::Everything));
    own.filter(|title| !title.is_empty())
}

fn language(page: &Html) -> Option<String> {
    let html = find(page.tree.root(), "html")?;
    let element = html.value().as_element()?;
    element
        .attr("lang")
        .or_else(|| element.attr("xml:lang"))
        .map(str::to_owned)
}

/// The first element called `name` below `root`.
fn find<'a>(root: NodeRef<'a, Node>, name: &str) -> Option<NodeRef<'a, Node>> {
    root.descendants().find(|node| {
        node.value()
            .as_element()
            .is_some_and(|element| element.name() == name)
    })
}
