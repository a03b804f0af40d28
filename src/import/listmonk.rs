//! listmonk's subscriber export and its import file. Times are Go's default text; list subscriptions are not in the file.
//!
//! `name` defaults to the local part there, which is no name. `disabled` and `blocklisted` do not say why, so both become a
//! suppression by hand. Attributes have no home here.

use super::Rules;
use super::columns::Texts;
use super::draft::{Draft, Standing};
use super::format::Layout;

pub(super) static LAYOUT: Layout = Layout {
    columns: &["email", "name", "status", "created_at", "updated_at"],
    required: 1,
    signatures: &[&["email", "attributes"]],
    rename: None,
    read,
};

fn read(texts: &Texts<'_>, _: &Rules) -> Result<Draft, String> {
    let mut draft = Draft::new(texts.get(0)?, Standing::read(&texts.get(2)?)?);
    let local = draft.address.split('@').next().unwrap_or_default();
    draft.name = Some(texts.get(1)?).filter(|name| name != local).unwrap_or_default();
    draft.remember(&texts.get(3)?, "listmonk: created".to_owned());
    if draft.standing.suppression.is_some() {
        // The last change is the nearest that the file has to the time of the block.
        draft.suppressed_at = super::times::foreign(&texts.get(4)?).ok();
    }
    Ok(draft)
}
