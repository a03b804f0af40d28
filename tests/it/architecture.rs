//! The house's rules, read from its sources: imports go downward only, sizes are bounded, no clock, no `unwrap`.
//!
//! Strategy: a file is stripped of comments and texts, split into tokens, and walked once with its module path in hand, so that
//! `super::super::x` inside an inline module resolves as the compiler resolves it.
//!
//! Known gaps: paths that a macro makes are not seen; a path through a re-export counts as the module that re-exports it.

use std::path::{Path, PathBuf};

/// Design section 3. A module may name itself and everything on a lower layer.
const LAYERS: &[(&str, u8)] = &[
    ("app", 5),
    ("cli", 5),
    ("demo", 5),
    ("tasks", 4),
    ("web", 4),
    ("store", 3),
    ("transport", 3),
    ("intake", 3),
    ("mail", 2),
    ("render", 2),
    ("import", 2),
    ("config", 2),
    ("domain", 1),
    ("runtime", 0),
];
/// The only sideways edges.
const SIDEWAYS: &[(&str, &str)] = &[("cli", "app"), ("demo", "app")];
const BANNED: &[&str] =
    &["manager", "handler", "helper", "util", "common", "service", "data", "info", "misc"];
const LINES_MAX: usize = 800;
const HEADER_MAX: usize = 20;

// ---- reading a source ----

/// Blanks comments and the insides of texts; lines stay where they are.
fn stripped(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skip(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        out.push(' ');
        out.extend(chars[at..end].iter().filter(|c| **c == '\n'));
        at = end;
    }
    out
}

/// The end of the comment, text or character that starts here; `at` itself when none does.
fn skip(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let starts = |text: &str| text.chars().enumerate().all(|(i, c)| rest.get(i) == Some(&c));
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    if starts("//") {
        return at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
    }
    if starts("/*") {
        return at + block_comment(rest);
    }
    if rest[0] == '"' {
        return at + quoted(rest, '"');
    }
    let raw = if starts("br") || starts("cr") { 2 } else { usize::from(rest[0] == 'r') };
    if raw > 0 && !in_word {
        let hashes = rest[raw..].iter().take_while(|c| **c == '#').count();
        if rest.get(raw + hashes) == Some(&'"') {
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = &rest[raw + hashes + 1..];
            let end = body.windows(close.len()).position(|window| window == close);
            return at + end.map_or(rest.len(), |end| raw + hashes + 1 + end + close.len());
        }
    }
    // A character, unless it is a lifetime: 'a' or '\n', not 'a.
    if rest[0] == '\'' && (rest.get(1) == Some(&'\\') || rest.get(2) == Some(&'\'')) {
        return at + quoted(rest, '\'');
    }
    at
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// Words, `::`, and single characters.
fn tokens(stripped: &str) -> Vec<Token> {
    let mut found: Vec<Token> = Vec::new();
    for (index, line) in stripped.lines().enumerate() {
        let chars: Vec<char> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let word = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
            let length = match chars[at..] {
                _ if word > 0 => word,
                [':', ':', ..] => 2,
                _ => 1,
            };
            let text: String = chars[at..at + length].iter().collect();
            if !text.trim().is_empty() {
                found.push(Token { text, line: index + 1 });
            }
            at += length;
        }
    }
    found
}

fn text(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| token.text.as_str())
}

/// The position behind the bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for at in open..tokens.len() {
        match text(tokens, at) {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

// ---- edges ----

/// The module path of a file below `src`: `store/sql.rs` is `[store, sql]`, `store/mod.rs` is `[store]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Every path of a file that starts at `crate` or `super`, as the top-level module that it leads to, with its line. A path that ends at the
/// root (`crate::*`, `use crate as c`) leads to `*`.
fn targets(file: &Path, source: &str) -> Vec<(String, usize)> {
    let tokens = tokens(&stripped(source));
    let home = module_of(file);
    // Inline modules that are open here, with the position where each ends.
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        open.retain(|(_, end)| at < *end);
        let here: Vec<&str> =
            home.iter().map(String::as_str).chain(open.iter().map(|(name, _)| name.as_str())).collect();
        match text(&tokens, at) {
            "mod" if text(&tokens, at + 2) == "{" => {
                let end = closing(&tokens, at + 2);
                open.push((text(&tokens, at + 1).to_owned(), end));
                at += 3;
                continue;
            }
            "crate" | "super" => {
                // `pub(crate)` is no path.
                let visibility = text(&tokens, at + 1) == ")" && text(&tokens, at.wrapping_sub(1)) == "(";
                if !visibility {
                    at = path(&tokens, at, &here, &mut found);
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows one path from `crate` or `super`; returns where to go on.
fn path(tokens: &[Token], start: usize, here: &[&str], found: &mut Vec<(String, usize)>) -> usize {
    let mut module: Vec<&str> = here.to_vec();
    let mut at = start;
    loop {
        match text(tokens, at) {
            "crate" => module.clear(),
            "super" => drop(module.pop()),
            _ => break,
        }
        at += 1;
        if text(tokens, at) != "::" {
            if module.is_empty() {
                found.push(("*".to_owned(), tokens[start].line));
            }
            return at;
        }
        at += 1;
    }
    leaf(tokens, at, module, found)
}

/// What stands behind `crate::` or `super::`: a name, or a group of them.
fn leaf(tokens: &[Token], at: usize, module: Vec<&str>, found: &mut Vec<(String, usize)>) -> usize {
    let Some(token) = tokens.get(at) else { return at };
    if let Some(first) = module.first() {
        found.push(((*first).to_owned(), token.line));
        return at;
    }
    if token.text != "{" {
        let name = if token.text == "self" { "*" } else { &token.text };
        found.push((name.to_owned(), token.line));
        return at + 1;
    }
    let end = closing(tokens, at);
    let mut depth = 0;
    for inner in at..end {
        match text(tokens, inner) {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        // The first word of each item of the outermost group.
        if depth == 1 && inner > at && matches!(text(tokens, inner - 1), "{" | ",") {
            let name = text(tokens, inner);
            if !matches!(name, "}" | ",") {
                let name = if name == "self" { "*" } else { name };
                found.push((name.to_owned(), tokens[inner].line));
            }
        }
    }
    end
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The forbidden edges of one file.
fn edges(file: &Path, source: &str) -> Vec<String> {
    let home = module_of(file);
    let place = |line: usize| format!("src/{}:{line}", file.display());
    let Some(from) = home.first() else {
        return if file == Path::new("main.rs") { main_edges(source) } else { Vec::new() };
    };
    let Some(own) = layer(from) else {
        return vec![format!("src/{}: module `{from}` is in no layer of design section 3", file.display())];
    };
    let mut wrong = Vec::new();
    for (to, line) in targets(file, source) {
        let allowed = to == *from
            || SIDEWAYS.contains(&(from.as_str(), to.as_str()))
            || layer(&to).is_some_and(|other| other < own);
        if !allowed {
            wrong.push(format!("{}: `{from}` must not name `{to}`", place(line)));
        }
    }
    wrong
}

/// `main` knows the commands and the demo, which stand side by side below it, and nothing else.
fn main_edges(source: &str) -> Vec<String> {
    let tokens = tokens(&stripped(source));
    let names = (0..tokens.len()).filter(|at| matches!(text(&tokens, *at), "tidings" | "crate"));
    let wrong =
        names.filter(|at| text(&tokens, at + 1) == "::" && !matches!(text(&tokens, at + 2), "cli" | "demo"));
    wrong
        .map(|at| format!("src/main.rs:{}: `main` must name only `cli` and `demo`", tokens[at].line))
        .collect()
}

// ---- the other rules ----

/// A source without its `#[cfg(test)]` modules, as tokens.
fn without_tests(source: &str) -> Vec<Token> {
    let all = tokens(&stripped(source));
    let mut kept = Vec::new();
    let mut at = 0;
    let pattern = ["#", "[", "cfg", "(", "test", ")", "]"];
    while at < all.len() {
        if !pattern.iter().enumerate().all(|(i, expected)| text(&all, at + i) == *expected) {
            kept.push(all[at].clone());
            at += 1;
            continue;
        }
        // To the end of the item: a block, or a semicolon before one.
        let start = at + pattern.len();
        let stop = (start..all.len()).find(|at| matches!(text(&all, *at), "{" | ";")).unwrap_or(all.len());
        at = if text(&all, stop) == "{" { closing(&all, stop) } else { stop + 1 };
    }
    kept
}

fn rules(file: &Path, source: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = format!("src/{}", file.display());
    let tests = source.find("#[cfg(test)]").unwrap_or(source.len());
    let lines = source[..tests].lines().count();
    if lines > LINES_MAX {
        wrong.push(format!("{name}: {lines} lines before its tests, at most {LINES_MAX}"));
    }
    let header = source.lines().take_while(|line| line.starts_with("//!")).count();
    // The crate's own docs are the book of its promises.
    if header == 0 || (header > HEADER_MAX && file != Path::new("lib.rs")) {
        wrong.push(format!("{name}: a header of {header} lines, wanted 1 to {HEADER_MAX}"));
    }
    for part in module_of(file).iter().filter(|part| BANNED.contains(&part.as_str())) {
        wrong.push(format!("{name}: `{part}` is a banned name"));
    }
    let tokens = without_tests(source);
    for at in 0..tokens.len() {
        let (word, line) = (text(&tokens, at), tokens[at].line);
        let after = |offset: usize| text(&tokens, at + offset);
        if word == "mod" && BANNED.contains(&after(1)) {
            wrong.push(format!("{name}:{line}: `{}` is a banned name", after(1)));
        }
        if word == "." && after(1) == "unwrap" && after(2) == "(" && after(3) == ")" {
            wrong.push(format!("{name}:{line}: unwrap outside tests"));
        }
        if after(1) == "::" && after(2) == "now" && !file.starts_with("runtime") && is_clock(&tokens, at) {
            wrong.push(format!("{name}:{line}: reads the clock ({word}::now)"));
        }
    }
    wrong
}

/// Whether the type at `at` is a clock. tokio's `Instant` is a timer's, and tests can pause it.
fn is_clock(tokens: &[Token], at: usize) -> bool {
    match text(tokens, at) {
        "SystemTime" | "Utc" | "Local" => true,
        "Instant" => !(spelt_tokio(tokens, at) || imports_tokio_instant(tokens)),
        _ => false,
    }
}

fn spelt_tokio(tokens: &[Token], at: usize) -> bool {
    at >= 4
        && ["tokio", "::", "time", "::"].iter().enumerate().all(|(i, part)| text(tokens, at - 4 + i) == *part)
}

fn imports_tokio_instant(tokens: &[Token]) -> bool {
    (0..tokens.len()).filter(|at| text(tokens, *at) == "use" && text(tokens, at + 1) == "tokio").any(
        |start| {
            let end = (start..tokens.len()).find(|at| text(tokens, *at) == ";").unwrap_or(tokens.len());
            let words: Vec<&str> = (start..end).map(|at| text(tokens, at)).collect();
            words.contains(&"time") && words.contains(&"Instant")
        },
    )
}

// ---- the tests ----

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), source));
            }
        }
    }
    found.sort();
    assert!(found.len() > 10, "the sources were not found");
    found
}

#[test]
fn imports_go_downward_only() {
    let wrong: Vec<String> = sources().iter().flat_map(|(file, source)| edges(file, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn house_rules_hold() {
    let wrong: Vec<String> = sources().iter().flat_map(|(file, source)| rules(file, source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_checker_sees_forbidden_edges() {
    let cases = [
        ("config/mod.rs", "use crate::import::Row;", "config/mod.rs:1: `config` must not name `import`"),
        (
            "domain/address.rs",
            "\nuse crate::{runtime::Timestamp, store::Row};",
            "domain/address.rs:2: `domain` must not name `store`",
        ),
        ("domain/address.rs", "use crate::{runtime::{a, b}, web};", "`domain` must not name `web`"),
        ("mail/mod.rs", "use super::render::Body;", "`mail` must not name `render`"),
        ("mail/mod.rs", "use self::super::render::Body;", "`mail` must not name `render`"),
        ("mail/dkim.rs", "use super::super::render::Body;", "`mail` must not name `render`"),
        ("mail/dkim.rs", "mod tests { use super::super::super::render; }", "`mail` must not name `render`"),
        (
            "store/sql.rs",
            "fn f() { let x = crate::transport::Outcome::Accepted; }",
            "`store` must not name `transport`",
        ),
        ("store/sql.rs", "fn f(x: &'a str) -> crate::tasks::Step {}", "`store` must not name `tasks`"),
        ("app/mod.rs", "use crate::cli::Args;", "`app` must not name `cli`"),
        ("cli/mod.rs", "use crate::demo::run;", "`cli` must not name `demo`"),
        ("cli/mod.rs", "use crate::*;", "`cli` must not name `*`"),
        ("cli/mod.rs", "use crate as c;", "`cli` must not name `*`"),
        ("cli/mod.rs", "use crate::{self as c};", "`cli` must not name `*`"),
        ("cli/mod.rs", "use super::*;", "`cli` must not name `*`"),
        ("runtime/clock.rs", "pub(in crate::domain) fn f() {}", "`runtime` must not name `domain`"),
        (
            "domain/words.rs",
            "macro_rules! m { () => { $crate::store::x() } }",
            "`domain` must not name `store`",
        ),
        ("extras/mod.rs", "", "module `extras` is in no layer"),
        ("main.rs", "fn main() { tidings::app::run(); }", "`main` must name only `cli` and `demo`"),
    ];
    for (file, source, expected) in cases {
        let found = edges(Path::new(file), source);
        assert_eq!(found.len(), 1, "{file}: {source}\n{found:?}");
        assert!(found[0].contains(expected), "{found:?}\n{expected}");
    }
}

#[test]
fn the_checker_allows_what_the_table_allows() {
    let cases = [
        ("config/mod.rs", "use crate::domain::problem::{Position, Problem};\nuse crate::runtime;"),
        (
            "config/tree.rs",
            "use super::section::Report;\nmod tests { use super::*; use super::super::syntax; }",
        ),
        (
            "config/tree.rs",
            "// crate::store::x\n/* crate::web /* nested */ crate::app */\nlet a = \"crate::store::x\";",
        ),
        (
            "config/tree.rs",
            "let a = r#\"crate::store \" x\"#; let b = '\"'; let c = 'x'; fn f<'a>(x: &'a str) {}",
        ),
        ("config/tree.rs", "pub(crate) fn f() {}\npub(super) fn g() {}\npub(in crate::config) fn h() {}"),
        ("store/mod.rs", "use crate::{domain::{self, body::Body}, mail, runtime::{Clock, Timestamp}};"),
        ("cli/run.rs", "use crate::app::run;\nuse crate::store::Store;"),
        ("demo/mod.rs", "use crate::app;"),
        ("tasks/send.rs", "mod a { mod b { use super::super::helper_free; } } use super::receive;"),
        ("main.rs", "fn main() -> std::process::ExitCode { tidings::cli::main() }"),
        ("lib.rs", "pub mod store;"),
    ];
    for (file, source) in cases {
        assert_eq!(edges(Path::new(file), source), Vec::<String>::new(), "{file}: {source}");
    }
}

#[test]
fn the_checker_sees_broken_house_rules() {
    let long = format!("//! x\n{}", "\n".repeat(801));
    let header = "//! x\n".repeat(21);
    let cases = [
        ("store/a.rs", long.as_str(), "lines before its tests"),
        ("store/a.rs", header.as_str(), "a header of 21 lines"),
        ("store/a.rs", "fn f() {}", "a header of 0 lines"),
        ("store/util.rs", "//! x", "`util` is a banned name"),
        ("store/misc/a.rs", "//! x", "`misc` is a banned name"),
        ("store/a.rs", "//! x\nmod helper { }", "store/a.rs:2: `helper` is a banned name"),
        ("store/a.rs", "//! x\nfn f() { g()\n.unwrap(); }", "store/a.rs:3: unwrap outside tests"),
        (
            "store/a.rs",
            "//! x\n#[cfg(test)]\nmod tests { }\nfn f() { g().unwrap(); }",
            "store/a.rs:4: unwrap",
        ),
        ("store/a.rs", "//! x\nfn f() { chrono::Utc::now(); }", "reads the clock (Utc::now)"),
        (
            "store/a.rs",
            "//! x\nfn f() { std::time::SystemTime::now(); }",
            "reads the clock (SystemTime::now)",
        ),
        (
            "store/a.rs",
            "//! x\nuse std::time::Instant;\nfn f() { Instant::now(); }",
            "store/a.rs:3: reads the clock",
        ),
    ];
    for (file, source, expected) in cases {
        let found = rules(Path::new(file), source);
        assert_eq!(found.len(), 1, "{file}: {source}\n{found:?}");
        assert!(found[0].contains(expected), "{found:?}\n{expected}");
    }
    let fine = [
        ("store/a.rs", "//! x\nfn f() { tokio::time::Instant::now(); }"),
        ("store/a.rs", "//! x\nuse tokio::time::{Duration, Instant};\nfn f() { Instant::now(); }"),
        ("runtime/clock.rs", "//! x\nfn f() { Utc::now(); }"),
        (
            "store/a.rs",
            "//! x\nfn f() { g().unwrap_or(1); } // .unwrap()\n#[cfg(test)]\nmod tests { fn t() { g().unwrap(); } }",
        ),
        ("store/a.rs", "//! x\n#[cfg(test)]\nuse a::b;\nfn f() {}"),
    ];
    for (file, source) in fine {
        assert_eq!(rules(Path::new(file), source), Vec::<String>::new(), "{source}");
    }
}
