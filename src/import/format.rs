//! Which system wrote a file: each one has columns that no other has. A header that fits two is not decided for the operator.

use super::columns::{Texts, shown};
use super::draft::Draft;
use super::{HeaderProblem, Rules};
use super::{buttondown, ghost, keila, listmonk, mailchimp, own, plain, substack};
use crate::domain::words::words;

words! {
    /// A system whose files are understood.
    Format {
        /// Our own, which `subscribers export` writes.
        Tidings = "tidings",
        Ghost = "ghost",
        Listmonk = "listmonk",
        Mailchimp = "mailchimp",
        Substack = "substack",
        Keila = "keila",
        Buttondown = "buttondown",
        /// Any list with one column of addresses; nobody in it has a plan.
        Plain = "plain",
    }
}

/// What a format's file looks like and how it is read.
pub(super) struct Layout {
    /// The columns that are read, the address first.
    pub columns: &'static [&'static str],
    /// How many of them, from the first, must be there.
    pub required: usize,
    /// Sets of columns; a header that has all of one set is of this format.
    pub signatures: &'static [&'static [&'static str]],
    /// Brings localised names to the ones of `columns`.
    pub rename: Option<fn(&mut [String])>,
    pub read: fn(&Texts<'_>, &Rules) -> Result<Draft, String>,
}

impl Format {
    pub(super) fn layout(self) -> &'static Layout {
        match self {
            Format::Tidings => &own::LAYOUT,
            Format::Ghost => &ghost::LAYOUT,
            Format::Listmonk => &listmonk::LAYOUT,
            Format::Mailchimp => &mailchimp::LAYOUT,
            Format::Substack => &substack::LAYOUT,
            Format::Keila => &keila::LAYOUT,
            Format::Buttondown => &buttondown::LAYOUT,
            Format::Plain => &plain::LAYOUT,
        }
    }
}

/// Whether a column's name means something in any format.
pub(super) fn is_known(name: &str) -> bool {
    let layouts = Format::ALL.iter().map(|format| format.layout());
    let mut names =
        layouts.flat_map(|layout| layout.columns.iter().chain(layout.signatures.iter().copied().flatten()));
    names.any(|column| column.split('|').any(|one| one == name))
}

/// The format of a header. A plain list is the last resort, and only where people without a plan have a tier (`default`).
pub(super) fn of_header(names: &[String], default: bool) -> Result<Format, HeaderProblem> {
    let has = |column: &&str| names.iter().any(|name| name == column);
    let fits = |format: &&Format| format.layout().signatures.iter().any(|set| set.iter().all(&has));
    let found: Vec<Format> = Format::ALL.iter().filter(fits).copied().collect();
    match found.as_slice() {
        [format] => return Ok(*format),
        [] => {}
        _ => return Err(HeaderProblem::Ambiguous(found)),
    }
    // With a tier in it, it is meant to be ours, and our own message says what it lacks.
    let addresses = names.iter().filter(|name| plain::ADDRESS.split('|').any(|one| one == *name)).count();
    if default && addresses == 1 && !has(&"tier") {
        return Ok(Format::Plain);
    }
    let own = &own::LAYOUT;
    let lacking = own.columns[..own.required].iter().filter(|column| !has(column));
    let missing = lacking.map(|column| (*column).to_owned()).collect();
    Err(HeaderProblem::Missing { missing, found: shown(names) })
}
