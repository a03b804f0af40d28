//! What somebody may read in the archive now. The same gates as for mail, asked at reading time; fails closed.

use super::publication::{ArticleAccess, Publication, Tier};

/// How much of one article somebody gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// What their own tier gets by mail.
    Own,
    /// The start, as everybody.
    Start,
    /// Not even that it is there.
    Nothing,
}

/// What decides about one article and one reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Withdrawn, or not finished.
    pub draft: bool,
    /// Of the back catalogue.
    pub published: bool,
    pub extra: bool,
    /// Whether the front matter lets the reader's tier have it, and an edition of that tier carried it.
    pub for_tier: bool,
    pub sent_to_tier: bool,
    /// The same for the tier that one joins with.
    pub for_everybody: bool,
    pub sent_to_everybody: bool,
    /// An extra edition that carried it was accepted for this very person.
    pub got: bool,
}

/// What a reader gets who counts as this tier now; `None`: a stranger, or somebody whose term ended into nothing.
pub fn share(facts: &Facts, tier: Option<&Tier>) -> Share {
    if facts.draft {
        return Share::Nothing;
    }
    // Extras of a term that is over stay with who got them, as far as their tier of today reads.
    let out = if facts.extra { facts.got } else { facts.published || facts.sent_to_tier };
    if tier.is_some_and(|tier| tier.archive) && facts.for_tier && out {
        return Share::Own;
    }
    let open = !facts.extra && facts.for_everybody && (facts.published || facts.sent_to_everybody);
    if open { Share::Start } else { Share::Nothing }
}

/// What everybody gets: the start, whatever the tier that one joins with gets.
pub fn everybody(publication: &Publication) -> Option<Tier> {
    publication.joining_tier().map(|tier| Tier { articles: ArticleAccess::Teaser, ..tier.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(archive: bool) -> Tier {
        Tier {
            id: "yearly".into(),
            label: "Yearly".into(),
            price: None,
            note: None,
            articles: ArticleAccess::Full,
            archive,
            chat_support: false,
            extra_articles: 0,
            term: None,
            refund_days: 0,
        }
    }

    #[test]
    fn every_combination_of_facts_has_its_share() {
        let bits = |n: u32, at: u32| n & (1 << at) != 0;
        for n in 0..256 {
            let facts = Facts {
                draft: bits(n, 0),
                published: bits(n, 1),
                extra: bits(n, 2),
                for_tier: bits(n, 3),
                sent_to_tier: bits(n, 4),
                for_everybody: bits(n, 5),
                sent_to_everybody: bits(n, 6),
                got: bits(n, 7),
            };
            let (member, guest) = (share(&facts, Some(&tier(true))), share(&facts, None));
            assert_eq!(
                share(&facts, Some(&tier(false))),
                guest,
                "a tier without an archive is a guest there"
            );
            assert_ne!(guest, Share::Own, "{facts:?}");
            if facts.draft {
                assert_eq!((member, guest), (Share::Nothing, Share::Nothing));
            }
            if facts.extra {
                assert_eq!(guest, Share::Nothing, "{facts:?}");
                assert_eq!(member == Share::Own, facts.got && facts.for_tier && !facts.draft, "{facts:?}");
            }
            if member == Share::Own {
                assert!(facts.for_tier && (facts.published || facts.sent_to_tier || facts.got), "{facts:?}");
            }
            if guest == Share::Start {
                assert!(facts.for_everybody && (facts.published || facts.sent_to_everybody), "{facts:?}");
            }
        }
    }
}
