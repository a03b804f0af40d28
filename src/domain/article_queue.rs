//! Which articles a slot's date takes: the next ready ones by file name, each sent once.

use std::collections::BTreeSet;

use super::publication::{Slot, TierId};

/// What the queue needs to know of an article. Only ready ones are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The file stem, which is also the order.
    pub id: String,
    pub extra: bool,
    /// Who may have it at all; `None`: everybody.
    pub tiers: Option<Vec<TierId>>,
}

/// What a slot's date finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    Articles(Vec<String>),
    /// The date is skipped: this many are there, fewer than the slot's `min`.
    TooFew(usize),
}

/// Takes for one date of `slot`. `used` are the articles that any edition has taken, and those that a one-off edition names: an
/// editor who plans an article by hand does not mean the slot to send it as well.
pub fn take(slot: &Slot, waiting: &[Waiting], used: &BTreeSet<String>) -> Taken {
    let for_slot = |article: &&Waiting| {
        let someone =
            article.tiers.as_ref().is_none_or(|tiers| tiers.iter().any(|tier| slot.tiers.contains(tier)));
        article.extra == slot.extra && someone && !used.contains(&article.id)
    };
    let mut ids: Vec<String> = waiting.iter().filter(for_slot).map(|article| article.id.clone()).collect();
    ids.sort();
    ids.truncate(slot.take_max);
    if ids.len() < slot.take_min { Taken::TooFew(ids.len()) } else { Taken::Articles(ids) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(extra: bool, min: usize, max: usize) -> Slot {
        Slot {
            name: "weekly".into(),
            cron: "0 9 * * TUE".into(),
            take_min: min,
            take_max: max,
            extra,
            tiers: vec!["free".into(), "yearly".into()],
            subject: String::new(),
            late: Default::default(),
            approval: false,
            template: "weekly".into(),
        }
    }

    fn article(id: &str) -> Waiting {
        Waiting { id: id.into(), extra: false, tiers: None }
    }

    fn ids(taken: Taken) -> Vec<String> {
        match taken {
            Taken::Articles(ids) => ids,
            Taken::TooFew(_) => Vec::new(),
        }
    }

    #[test]
    fn the_next_by_file_name_each_once() {
        let waiting = [article("c"), article("a"), article("b")];
        let mut used = BTreeSet::new();
        let first = ids(take(&slot(false, 1, 2), &waiting, &used));
        assert_eq!(first, ["a", "b"]);
        used.extend(first);
        let second = ids(take(&slot(false, 1, 2), &waiting, &used));
        assert_eq!(second, ["c"]);
        used.extend(second);
        assert_eq!(take(&slot(false, 1, 2), &waiting, &used), Taken::TooFew(0));
        assert_eq!(take(&slot(false, 2, 2), &[article("z")], &used), Taken::TooFew(1));
    }

    #[test]
    fn extras_go_to_extra_slots_and_tiers_must_meet() {
        let extra = Waiting { extra: true, ..article("a") };
        let monthly = Waiting { tiers: Some(vec!["monthly".into()]), ..article("b") };
        let yearly = Waiting { tiers: Some(vec!["yearly".into()]), ..article("c") };
        let waiting = [extra, monthly, yearly];
        assert_eq!(ids(take(&slot(false, 1, 2), &waiting, &BTreeSet::new())), ["c"]);
        assert_eq!(ids(take(&slot(true, 1, 1), &waiting, &BTreeSet::new())), ["a"]);
    }
}
