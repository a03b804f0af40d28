//! Which names a place in a template knows: the fields of its kind, and inside of `{{#each}}` those of one entry.

use super::fields::Shape;

/// What each iteration of `{{#each}}` knows.
const LOCALS: &[&str] = &["@index", "@first", "@last"];

/// The scopes that are open, the fields of the kind first.
pub(super) struct Scopes {
    open: Vec<&'static Shape>,
    /// `../` of a partial climbs no further than what it opened itself.
    floor: usize,
}

impl Scopes {
    pub fn new(root: &'static Shape) -> Scopes {
        Scopes { open: vec![root], floor: 0 }
    }

    fn root(&self) -> &'static Shape {
        self.open[0]
    }

    pub fn enter(&mut self, each: Option<&'static Shape>) {
        self.open.extend(each);
    }

    pub fn leave(&mut self) {
        // The root stays, whatever a broken template closes.
        if self.open.len() > 1 {
            self.open.pop();
        }
    }

    /// Another file starts; answers what [`Scopes::reopen`] wants back.
    pub fn shut(&mut self) -> usize {
        std::mem::replace(&mut self.floor, self.open.len() - 1)
    }

    pub fn reopen(&mut self, floor: usize) {
        self.floor = floor;
    }

    /// Whether a path starts with something that differs from reader to reader in this kind of mail.
    pub fn mentions_hole(&self, path: &str) -> bool {
        let first = path.trim_start_matches("this.").split(['.', '/', '[']).next().unwrap_or_default();
        self.root().field(first).is_some_and(Shape::has_holes)
    }

    /// What a path leads to, or what to say behind "there is no such field".
    pub fn resolve(&self, path: &str) -> Result<&'static Shape, String> {
        if LOCALS.contains(&path) {
            let inside = self.open.len() > 1;
            return if inside { Ok(&Shape::Value) } else { Err(" outside of {{#each}}".to_owned()) };
        }
        let mut scope = self.open.len() - 1;
        let mut rest = path;
        let mut shape = self.open[scope];
        if let Some(from_root) = path.strip_prefix("@root.") {
            (rest, shape) = (from_root, self.root());
        }
        while let Some(up) = rest.strip_prefix("../") {
            if scope <= self.floor {
                return Err(": ../ climbs out of this file; write @root.".to_owned());
            }
            scope -= 1;
            (rest, shape) = (up, self.open[scope]);
        }
        rest = rest.strip_prefix("./").unwrap_or(rest);
        if rest == "this" || rest == "." {
            return Ok(shape);
        }
        rest = rest.strip_prefix("this.").unwrap_or(rest);
        for segment in rest.split('.') {
            let name = segment.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(segment);
            shape = shape.field(name).ok_or_else(|| {
                let names = shape.names();
                if names.is_empty() { String::new() } else { format!("; here are {names}") }
            })?;
        }
        Ok(shape)
    }
}
