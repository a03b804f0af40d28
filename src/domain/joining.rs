//! Joining with a confirmation: which mail somebody gets who asks to join, and when nobody gets one.
//!
//! Whoever fills in a form may do it for somebody else, a thousand times: the mails that ask for a confirmation are themselves
//! used to flood mailboxes (W211-W216). So an address gets few of them, and all of them stop when hardly anybody confirms.

use std::time::Duration;

use super::address::Address;
use super::subscriber::SubscriberStatus;
use super::suppression::SuppressionReason;
use super::words::words;
use crate::runtime::Timestamp;

/// A wish that nobody confirms within this is deleted (W215).
pub const PENDING_FOR: Duration = Duration::from_secs(7 * 86_400);

/// Who left by a page may take it back there for this long; later the way in is the form.
pub const UNDO_FOR: Duration = Duration::from_secs(3600);

/// Mails for one address in a day, and those that it never answered (W212).
const A_DAY: i64 = 1;
const EVER: i64 = 3;

/// Above this many in an hour, a tenth of them must have been confirmed (W214).
const BURST: i64 = 50;

words! {
    /// What a mail has to prove.
    RequestKind {
        /// That somebody wants the publication.
        Join = "join",
        /// That a new address is theirs.
        Address = "address",
    }
}

/// What was asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Mails to this address in the last day, and those since it last confirmed.
    pub mailed_today: i64,
    pub mailed_ever: i64,
    /// Mails to anybody in the last hour, and how many of them were confirmed.
    pub all_in_hour: i64,
    pub confirmed_in_hour: i64,
}

impl Asks {
    /// Somebody uses the form to fill other people's mailboxes.
    pub fn is_flood(&self) -> bool {
        self.all_in_hour > BURST && self.confirmed_in_hour * 10 < self.all_in_hour
    }

    /// This address has had its mails.
    pub fn is_spent(&self) -> bool {
        self.mailed_today >= A_DAY || self.mailed_ever >= EVER
    }
}

/// What somebody gets who asks to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinMail {
    /// The one that asks for a confirmation.
    Confirm,
    /// "You are on the list already", with the way to the preferences.
    Known,
    Nothing,
}

/// Which mail an address gets. The page says the same whatever it is (W210, W216).
pub fn join_mail(
    status: Option<SubscriberStatus>,
    suppression: Option<SuppressionReason>,
    asks: &Asks,
) -> JoinMail {
    match (suppression, status) {
        _ if asks.is_spent() => JoinMail::Nothing,
        // Who left may come back; what bounced or complained stays as it is until an operator has looked.
        (Some(reason), _) if reason != SuppressionReason::Unsubscribed => JoinMail::Nothing,
        (None, Some(SubscriberStatus::Active)) => JoinMail::Known,
        _ => JoinMail::Confirm,
    }
}

/// What the form asks people to agree to; the consent history keeps it word for word (W186).
pub const CONSENT: &str =
    "Send me this publication by mail. Every mail has a link that ends it with one click.";

/// What became of somebody's asking, as far as the page may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// If a mail was needed, it is on its way.
    Noted,
    /// Too many ask and hardly anybody confirms: later it works again.
    Later,
    /// Nobody can join this publication by themselves.
    Closed,
}

/// What pressing the button of a confirmation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// They get mail from now on, or did already.
    Joined,
    /// Mails go to the new address from now on.
    Moved,
    /// The new address cannot be had: somebody has it, or it must not be mailed.
    Taken,
    /// It was confirmed before, and they have left since.
    Left,
    /// It was confirmed before, and the address must not be mailed now: it bounced, complained, or somebody said so.
    Stopped,
    /// It was confirmed before, and their mails go to another address by now.
    Elsewhere,
    /// There is no such wish, or not any more.
    Gone,
}

/// What is true now of a wish that was confirmed before, for whoever uses its link again: the mail stays in the mailbox, and they may
/// have left, moved or been stopped since.
pub fn standing(
    kind: RequestKind,
    address: &Address,
    person: Option<(SubscriberStatus, &Address)>,
    suppression: Option<SuppressionReason>,
) -> Confirmed {
    let Some((status, now_at)) = person.filter(|(_, now_at)| !now_at.as_str().is_empty()) else {
        return Confirmed::Gone;
    };
    if now_at.key() != address.key() {
        return Confirmed::Elsewhere;
    }
    match (suppression, status, kind) {
        (Some(SuppressionReason::Unsubscribed), ..) => Confirmed::Left,
        (Some(_), ..) => Confirmed::Stopped,
        (None, SubscriberStatus::Active, RequestKind::Join) => Confirmed::Joined,
        (None, SubscriberStatus::Active, RequestKind::Address) => Confirmed::Moved,
        (None, ..) => Confirmed::Left,
    }
}

/// Whether somebody who left may take it back with the same link.
pub fn may_undo(suppression: Option<(SuppressionReason, Timestamp)>, now: Timestamp) -> bool {
    matches!(suppression, Some((SuppressionReason::Unsubscribed, at)) if now.since(at) < UNDO_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w216_who_bounced_or_complained_gets_nothing() {
        let asked = |status, suppression| join_mail(status, suppression, &Asks::default());
        assert_eq!(asked(None, None), JoinMail::Confirm);
        assert_eq!(asked(Some(SubscriberStatus::Pending), None), JoinMail::Confirm);
        assert_eq!(asked(Some(SubscriberStatus::Active), None), JoinMail::Known);
        let left = Some(SuppressionReason::Unsubscribed);
        assert_eq!(asked(Some(SubscriberStatus::Unsubscribed), left), JoinMail::Confirm);
        assert_eq!(asked(Some(SubscriberStatus::Active), left), JoinMail::Confirm, "gets nothing now");
        for reason in [SuppressionReason::HardBounce, SuppressionReason::Complaint, SuppressionReason::Manual]
        {
            assert_eq!(asked(None, Some(reason)), JoinMail::Nothing);
            assert_eq!(asked(Some(SubscriberStatus::Active), Some(reason)), JoinMail::Nothing);
        }
    }

    #[test]
    fn a_link_that_is_used_again_says_what_is_true_now() {
        use {Confirmed::*, SubscriberStatus::*, SuppressionReason as Why};
        let (mine, other) = (Address::trusted("a@x.example".into()), Address::trusted("b@x.example".into()));
        let said = |kind, status, why| standing(kind, &mine, Some((status, &mine)), why);
        assert_eq!(said(RequestKind::Join, Active, None), Joined);
        assert_eq!(said(RequestKind::Address, Active, None), Moved);
        for kind in [RequestKind::Join, RequestKind::Address] {
            assert_eq!(said(kind, Unsubscribed, Some(Why::Unsubscribed)), Left);
            assert_eq!(said(kind, Unsubscribed, None), Left);
            assert_eq!(said(kind, Active, Some(Why::HardBounce)), Stopped);
            assert_eq!(said(kind, Unsubscribed, Some(Why::Complaint)), Stopped);
            assert_eq!(standing(kind, &mine, Some((Active, &other)), None), Elsewhere);
            assert_eq!(standing(kind, &mine, None, None), Gone);
            assert_eq!(standing(kind, &mine, Some((Active, &Address::trusted(String::new()))), None), Gone);
        }
    }

    #[test]
    fn w212_one_a_day_and_three_that_nobody_answered() {
        let asks = |mailed_today, mailed_ever| Asks { mailed_today, mailed_ever, ..Asks::default() };
        assert_eq!(join_mail(None, None, &asks(0, 2)), JoinMail::Confirm);
        assert_eq!(join_mail(None, None, &asks(1, 1)), JoinMail::Nothing);
        assert_eq!(join_mail(None, None, &asks(0, 3)), JoinMail::Nothing);
    }

    #[test]
    fn w214_a_flood_is_many_mails_that_hardly_anybody_confirms() {
        let asks =
            |all_in_hour, confirmed_in_hour| Asks { all_in_hour, confirmed_in_hour, ..Asks::default() };
        assert!(!asks(50, 0).is_flood());
        assert!(asks(51, 5).is_flood());
        assert!(!asks(51, 6).is_flood());
        assert!(asks(1000, 99).is_flood() && !asks(1000, 100).is_flood());
    }

    #[test]
    fn a_slip_of_the_finger_is_taken_back_within_the_hour() {
        let left = |reason| Some((reason, Timestamp(1000)));
        let hour = Timestamp(1000 + UNDO_FOR.as_millis() as i64);
        assert!(may_undo(left(SuppressionReason::Unsubscribed), Timestamp(1000)));
        assert!(!may_undo(left(SuppressionReason::Unsubscribed), hour));
        assert!(!may_undo(left(SuppressionReason::Complaint), Timestamp(1000)));
        assert!(!may_undo(None, Timestamp(1000)));
    }
}
