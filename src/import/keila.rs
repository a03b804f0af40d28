//! Keila's contacts export. It has no dates and no plans.
//!
//! Columns are found by name, not by order, and a status is a whole word: `inactive` is not active. `Data` and
//! `External ID` have no home here.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Standing};
use super::format::Layout;

pub(super) static LAYOUT: Layout = Layout {
    columns: &["email", "status", "first name", "last name"],
    required: 2,
    signatures: &[&["email", "status", "data", "external id"]],
    rename: None,
    read,
};

fn read(texts: &Texts<'_>, _: &Rules) -> Result<Draft, String> {
    let standing = match texts.some(1)? {
        Some(word) => Standing::read(&word)?,
        None => Standing { unclear: true, ..Standing::PENDING },
    };
    let mut draft = Draft::new(texts.get(0)?, standing);
    draft.name = [texts.get(2)?, texts.get(3)?].join(" ").trim().to_owned();
    Ok(draft)
}
