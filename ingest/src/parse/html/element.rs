//! What an element does to the text.

use scraper::node::Element;

/// How much of a page is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// What is content: no navigation, no hidden parts.
    Content,
    /// Everything that is text, for pages that would be empty otherwise.
    Everything,
}

/// How an element shapes the text around and in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Not shown, or no text.
    Dropped,
    /// A line end.
    Break,
    /// An image: its alternative text.
    Image,
    /// A formula.
    Math,
    /// A heading of a level.
    Heading(u8),
    /// A list, numbered or not.
    List { numbered: bool },
    /// An item of a list.
    Item,
    /// A term (0) or its description (1).
    Definition(usize),
    /// Text with its layout.
    Verbatim,
    /// A table.
    Table,
    /// Starts and ends a paragraph.
    Block,
    /// Raised text.
    Raised,
    /// Runs on.
    Inline,
}

/// Classes that sites give to what is no content.
const NO_CONTENT: &[&str] = &[
    "sr-only",
    "visually-hidden",
    "screen-reader-text",
    "headerlink",
    "mw-editsection",
    "navbox",
    "noprint",
    "breadcrumb",
    "breadcrumbs",
    "cookie-banner",
    "cookie-consent",
    "skip-link",
];

/// The role of `element`.
pub(crate) fn role(element: &Element, keep: Keep) -> Role {
    if is_never_text(element.name()) || (keep == Keep::Content && is_no_content(element)) {
        return Role::Dropped;
    }
    match element.name() {
        "br" => Role::Break,
        "img" => Role::Image,
        "math" => Role::Math,
        "h1" => Role::Heading(1),
        "h2" => Role::Heading(2),
        "h3" => Role::Heading(3),
        "h4" => Role::Heading(4),
        "h5" => Role::Heading(5),
        "h6" => Role::Heading(6),
        "ul" | "menu" | "dir" => Role::List { numbered: false },
        "ol" => Role::List { numbered: true },
        "li" => Role::Item,
        "dt" => Role::Definition(0),
        "dd" => Role::Definition(1),
        "pre" | "listing" | "xmp" | "plaintext" => Role::Verbatim,
        "table" => Role::Table,
        "sup" => Role::Raised,
        _ if element.attr("role") == Some("heading") => Role::Heading(aria_level(element)),
        name if is_block(name) => Role::Block,
        _ => Role::Inline,
    }
}

fn aria_level(element: &Element) -> u8 {
    element
        .attr("aria-level")
        .and_then(|level| level.parse().ok())
        .unwrap_or(2)
}

/// Elements whose content is never shown as text.
fn is_never_text(name: &str) -> bool {
    matches!(
        name,
        "script"
            | "style"
            | "template"
            | "noscript"
            | "head"
            | "title"
            | "link"
            | "meta"
            | "base"
            | "iframe"
            | "frame"
            | "noframes"
            | "object"
            | "embed"
            | "canvas"
            | "audio"
            | "video"
            | "map"
            | "select"
            | "datalist"
            | "input"
            | "textarea"
            | "rt"
            | "rp"
            | "defs"
            | "desc"
            | "annotation"
            | "annotation-xml"
    )
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "html"
            | "body"
            | "address"
            | "article"
            | "aside"
            | "blockquote"
            | "center"
            | "details"
            | "dialog"
            | "div"
            | "dl"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "header"
            | "hgroup"
            | "hr"
            | "legend"
            | "main"
            | "nav"
            | "optgroup"
            | "option"
            | "p"
            | "search"
            | "section"
            | "summary"
            | "caption"
            | "thead"
            | "tbody"
            | "tfoot"
            | "tr"
            | "td"
            | "th"
            | "frameset"
            | "svg"
            | "text"
    )
}

/// Whether `element` is hidden, or there to move around the site.
fn is_no_content(element: &Element) -> bool {
    if matches!(element.name(), "html" | "body" | "main") {
        return false;
    }
    let is_menu = matches!(element.name(), "nav" | "button")
        || (element.name() == "dialog" && element.attr("open").is_none());
    let role = element.attr("role").unwrap_or_default();
    let is_menu = is_menu
        || matches!(
            role,
            "navigation" | "search" | "menu" | "menubar" | "toolbar" | "dialog"
        );
    let is_note_mark =
        element.name() == "sup" && element.classes().any(|class| class == "reference");
    is_menu
        || is_note_mark
        || is_hidden(element)
        || element.classes().any(|class| NO_CONTENT.contains(&class))
}

fn is_hidden(element: &Element) -> bool {
    let style: String = element
        .attr("style")
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let style = style.to_ascii_lowercase();
    let inline_aria = matches!(element.name(), "span" | "i" | "svg" | "a")
        && element.attr("aria-hidden") == Some("true");
    element.attr("hidden").is_some()
        || inline_aria
        || style.contains("display:none")
        || style.contains("visibility:hidden")
}
