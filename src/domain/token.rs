//! What a signed token may be used for. Minting and checking are in `mail::token`; here is only the meaning.

/// The purpose inside a token decides the role of an inbound address, never its local part (design section 5), and a token of
/// one purpose is worthless for another (W207).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Leave with one click or by mail. Row: subscriber.
    Unsubscribe,
    /// Open the preferences page. Row: subscriber.
    Preferences,
    /// Read one edition in the browser. Row: delivery.
    View,
    /// Return path of one delivery. Row: delivery.
    Bounce,
    /// Reply-To of one delivery of an edition. Row: delivery.
    Edition,
    /// Reply-To of a support answer. Row: thread.
    Thread,
    /// Reply-To of a notice to staff. Rows: thread, then staff member.
    Staff,
    /// The second address of a notice: what comes there stays in the house. Rows as [`Purpose::Staff`].
    StaffNote,
    /// Reply-To of a report to editors, who can approve by answering. Row: edition.
    Editors,
    /// Left part of a Message-ID, so that nobody can guess one and write into a foreign thread. Row: delivery.
    MessageId,
    /// Button of a mail that asks for a confirmation. Rows: request, then what binds it to the address, because a request that
    /// nobody confirms is deleted and its row may be another's.
    Confirm,
    /// A form of somebody who is signed in, so that no other site sends it for them. Rows: session, then
    /// when it ends.
    Session,
    /// The form that asks for an address, so that one which was never shown does not count. Row: second of the epoch.
    Form,
}

/// A row that no table has. Links and addresses in a proof carry it: they verify, and change nothing for anybody.
pub const NOBODY: i64 = -1;

/// The rows that a verified token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub purpose: Purpose,
    /// Which row this is, the purpose says.
    pub row: i64,
    /// The staff member of a [`Purpose::Staff`] or [`Purpose::StaffNote`] token, what binds one of [`Purpose::Confirm`] or
    /// [`Purpose::Session`], else 0.
    pub second: i64,
}

/// The longest token that `mail::token` mints for rows below 2^56 and staff below 2^21, in characters: 25 octets as base32. An
/// address pattern leaves this much room in its 64 octets of local part.
pub const TOKEN_MAX: usize = 40;
