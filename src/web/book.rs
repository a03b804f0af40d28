//! The templates of the pages, embedded: handlebars with our escape, strict, so that a name that nobody sets is an error and
//! not an empty place.

use handlebars::{Handlebars, RenderError};
use serde_json::Value;

use crate::domain::body::escape_html;

/// The style sheet of all pages.
pub(super) const STYLE: &str = include_str!("../../templates/pages/tokens.css");

const PAGES: &[(&str, &str)] = &[
    ("head", include_str!("../../templates/pages/head.hbs")),
    ("foot", include_str!("../../templates/pages/foot.hbs")),
    ("note", include_str!("../../templates/pages/note.hbs")),
    ("leave", include_str!("../../templates/pages/leave.hbs")),
    ("left", include_str!("../../templates/pages/left.hbs")),
    ("confirm", include_str!("../../templates/pages/confirm.hbs")),
    ("sign-in", include_str!("../../templates/pages/sign-in.hbs")),
    ("sign-out", include_str!("../../templates/pages/sign-out.hbs")),
    ("join", include_str!("../../templates/pages/join.hbs")),
    ("preferences", include_str!("../../templates/pages/preferences.hbs")),
    ("archive", include_str!("../../templates/pages/archive.hbs")),
    ("article", include_str!("../../templates/pages/article.hbs")),
    ("you", include_str!("../../templates/pages/you.hbs")),
    ("plans", include_str!("../../templates/pages/plans.hbs")),
    ("side", include_str!("../../templates/pages/side.hbs")),
    ("desk", include_str!("../../templates/pages/desk.hbs")),
    ("conversation", include_str!("../../templates/pages/conversation.hbs")),
    ("progress", include_str!("../../templates/pages/progress.hbs")),
    ("board", include_str!("../../templates/pages/board.hbs")),
    ("look", include_str!("../../templates/pages/look.hbs")),
    ("edition", include_str!("../../templates/pages/edition.hbs")),
    ("cancel", include_str!("../../templates/pages/cancel.hbs")),
    ("lost", include_str!("../../templates/pages/lost.hbs")),
];

/// All pages, read once.
pub(super) struct Book(Handlebars<'static>);

impl Book {
    pub fn new() -> Book {
        let mut book = Handlebars::new();
        book.set_prevent_indent(true);
        book.register_escape_fn(|value| {
            let mut out = String::new();
            escape_html(value, &mut out);
            out
        });
        for (name, text) in PAGES {
            book.register_template_string(name, text)
                .expect("the shipped pages are sound; a test reads them");
        }
        Book(book)
    }

    pub fn page(&self, name: &str, fields: &Value) -> Result<String, RenderError> {
        let mut fields = fields.clone();
        fields["version"] = env!("CARGO_PKG_VERSION").into();
        self.0.render(name, &fields)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Book, PAGES};

    #[test]
    fn w41_w223_pages_hold_no_script_no_inline_style_and_nothing_from_elsewhere() {
        for (name, text) in PAGES {
            for wrong in [
                "<script",
                "onload",
                "onclick",
                "javascript:",
                "style=\"",
                "<style",
                "{{{",
                "http://",
                "https://",
            ] {
                // An article's own text is the one thing that was made HTML before.
                let made = *name == "article" && wrong == "{{{";
                assert!(made || !text.contains(wrong), "{name}: {wrong}");
            }
        }
    }

    #[test]
    fn w223_names_are_text() {
        let fields =
            json!({ "title": "<script>x</script>", "lead": "a & b", "publication": { "name": "<b>" } });
        let page = Book::new().page("note", &fields).unwrap();
        assert!(page.contains("&lt;script&gt;x&lt;/script&gt;") && !page.contains("<script"), "{page}");
        assert!(page.contains("a &amp; b") && page.contains("&lt;b&gt;"), "{page}");
    }
}
