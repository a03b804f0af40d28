//! Any list with a column of addresses, as spreadsheets and small tools write it. It knows no plans.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Standing};
use super::format::Layout;

/// Whole names only: a list has columns such as `Email marketing` beside the address.
pub(super) const ADDRESS: &str =
    "email|e-mail|email address|e-mail address|email_address|e-mail-adresse|mail";

pub(super) static LAYOUT: Layout = Layout {
    columns: &[
        ADDRESS,
        "name|full name",
        "first name|first_name|vorname",
        "last name|last_name|nachname",
        "status",
        "notes|note",
        "timezone",
        "language",
    ],
    required: 1,
    signatures: &[],
    rename: None,
    read,
};

fn read(texts: &Texts<'_>, _: &Rules) -> Result<Draft, String> {
    let mut draft = Draft::new(texts.get(0)?, Standing::read(&texts.get(4)?)?);
    let parts = [texts.get(2)?, texts.get(3)?];
    draft.name = texts.some(1)?.unwrap_or_else(|| parts.join(" ").trim().to_owned());
    draft.note = texts.lines(5)?;
    draft.timezone = texts.get(6)?.parse().ok();
    draft.language = texts.some(7)?;
    Ok(draft)
}
