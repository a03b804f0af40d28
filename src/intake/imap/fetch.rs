//! What is new in a mailbox, and its octets.

use std::collections::BTreeMap;

use async_imap::imap_proto::{AttributeValue, MailboxDatum, MessageSection, Response, SectionPath};

use super::name::set;
use super::{ImapProblem, Mailbox};
use crate::runtime::Timestamp;

/// UIDs that are asked for at once; more where there are none, up to a point: the library reads a list again with each packet.
const WINDOW: u32 = 20_000;
const WIDEST: u32 = 100_000;
/// Octets of a UID in a list, with its space.
const UID_OCTETS: usize = 11;
/// Octets of a list whose end nobody knows, whatever the server says of how many messages it has.
const LIST: usize = 16 << 20;
/// Octets around one message in a response.
const ENVELOPE: usize = 512;
/// A message above this comes alone and in pieces.
const SMALL: usize = 256 * 1024;
/// Octets of one batch of small ones.
const BATCH: usize = 4 << 20;
/// Messages of one batch.
const BATCH_MESSAGES: usize = 100;
/// Octets of one piece.
const PIECE: usize = 1 << 20;
/// Octets of a header that is kept where the message is not.
const HEADER: usize = 64 * 1024;

/// A message in the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    pub uid: u32,
    /// In octets, as the server says, which may be wrong. `None`: it was not asked, or did not say.
    pub size: Option<usize>,
}

/// One message's octets.
#[derive(Clone, PartialEq, Eq)]
pub enum Fetched {
    Whole(Vec<u8>),
    /// More than was wanted. This is the start of its header.
    TooLarge(Vec<u8>),
    /// Somebody removed it.
    Gone,
}

impl std::fmt::Debug for Fetched {
    /// Without a word of anybody's mail.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fetched::Whole(raw) => write!(f, "Whole({} octets)", raw.len()),
            Fetched::TooLarge(header) => write!(f, "TooLarge({} octets of header)", header.len()),
            Fetched::Gone => f.write_str("Gone"),
        }
    }
}

impl Mailbox {
    /// The UIDs after `after`, ascending: all of them, or the first window that has some. None: there is nothing new. With `since`
    /// only those of messages that came on that day or later; the day before counts too, for servers in other time zones.
    ///
    /// # Errors
    /// When the connection is lost or the server says no.
    pub async fn new_uids(&mut self, after: u32, since: Option<Timestamp>) -> Result<Vec<u32>, ImapProblem> {
        let since = since.map(|at| {
            let day = at.to_utc().date_naive();
            format!(" SINCE {}", day.pred_opt().unwrap_or(day).format("%-d-%b-%Y"))
        });
        let since = since.unwrap_or_default();
        let Some(mut first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let mut width = WINDOW;
        // Behind what was there when the mailbox was opened: little, and nobody says where it ends.
        while let Some(next) = self.opened.next.filter(|next| first < *next) {
            let last = first.saturating_add(width - 1).min(next - 1);
            let most = UID_OCTETS.saturating_mul(width as usize);
            let found = self.search(first, &format!("{first}:{last}{since}"), most).await?;
            if !found.is_empty() {
                return Ok(found);
            }
            (first, width) = (last + 1, width.saturating_mul(2).min(WIDEST));
        }
        let most = UID_OCTETS.saturating_mul(self.opened.messages as usize).min(LIST);
        self.search(first, &format!("{first}:*{since}"), most).await
    }

    async fn search(&mut self, first: u32, what: &str, most: usize) -> Result<Vec<u32>, ImapProblem> {
        let mut found = Vec::new();
        let command = format!("UID SEARCH UID {what}");
        self.wire
            .ask(&command, most, |response| {
                if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
                    // `n:*` always names the last message, even one before n.
                    found.extend(uids.iter().copied().filter(|uid| *uid >= first));
                }
            })
            .await?;
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Which of these are there, as the server says now.
    ///
    /// # Errors
    /// When the connection is lost or the server says no.
    pub async fn are_there(&mut self, uids: &[u32]) -> Result<Vec<u32>, ImapProblem> {
        let first = uids.first().copied().unwrap_or(0);
        let mut found = self.search(first, &set(uids), UID_OCTETS.saturating_mul(uids.len())).await?;
        found.retain(|uid| uids.binary_search(uid).is_ok());
        Ok(found)
    }

    /// These messages with their sizes; without one where the server leaves it out, because the message is gone or because it
    /// cannot say.
    ///
    /// # Errors
    /// When the connection is lost or the server says no.
    pub async fn sizes(&mut self, uids: &[u32]) -> Result<Vec<Listed>, ImapProblem> {
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        let command = format!("UID FETCH {} (UID RFC822.SIZE)", set(uids));
        let most = uids.len().saturating_mul(ENVELOPE);
        self.wire
            .ask(&command, most, |response| {
                let Response::Fetch(_, attributes) = response else { return };
                let size = attributes.iter().find_map(|attribute| match attribute {
                    AttributeValue::Rfc822Size(size) => usize::try_from(*size).ok(),
                    _ => None,
                });
                // What others change meanwhile is told in the same shape, without a size.
                if let (Some(uid), Some(size)) = (uid_of(attributes), size) {
                    sizes.insert(uid, size);
                }
            })
            .await?;
        Ok(uids.iter().map(|uid| Listed { uid: *uid, size: sizes.get(uid).copied() }).collect())
    }

    /// How many of these come with one command: small ones together, a large one or one of unknown size alone.
    pub fn batch(listed: &[Listed]) -> usize {
        let mut octets = 0;
        let small = listed.iter().take(BATCH_MESSAGES).map_while(|one| one.size).take_while(|size| {
            octets += size;
            *size <= SMALL && octets <= BATCH
        });
        small.count().max(1)
    }

    /// The octets of a batch, in its order; each message may have `max` of them.
    ///
    /// # Errors
    /// When the connection is lost or the server says no. Where it sends more than it announced, one message alone goes better.
    pub async fn fetch(&mut self, batch: &[Listed], max: usize) -> Result<Vec<(u32, Fetched)>, ImapProblem> {
        match batch {
            [] => Ok(Vec::new()),
            [one] => Ok(vec![(one.uid, self.fetch_one(*one, max).await?)]),
            several => self.fetch_several(several, max).await,
        }
    }

    async fn fetch_several(
        &mut self,
        batch: &[Listed],
        max: usize,
    ) -> Result<Vec<(u32, Fetched)>, ImapProblem> {
        let uids: Vec<u32> = batch.iter().map(|one| one.uid).collect();
        // Some servers count line ends their own way.
        let most = batch.iter().filter_map(|one| one.size).map(|size| size + size / 4 + ENVELOPE).sum();
        let command = format!("UID FETCH {} (UID BODY.PEEK[])", set(&uids));
        let mut bodies: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let wire = &mut self.wire;
        wire.ask(&command, most, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            if let (Some(uid), Some((_, body))) = (uid_of(attributes), body_of(attributes)) {
                bodies.insert(uid, body.to_vec());
            }
        })
        .await?;
        let whole = uids.iter().map(|uid| {
            let fetched = match bodies.remove(uid) {
                Some(raw) if raw.len() > max => Fetched::TooLarge(raw[..raw.len().min(HEADER)].to_vec()),
                Some(raw) => Fetched::Whole(raw),
                None => Fetched::Gone,
            };
            (*uid, fetched)
        });
        Ok(whole.collect())
    }

    /// In pieces, so that the library never has more than one of them, whatever the message's size turns out to be. A server may give
    /// smaller pieces than it was asked for: only a message that has its size, or an empty piece, is at its end.
    async fn fetch_one(&mut self, one: Listed, max: usize) -> Result<Fetched, ImapProblem> {
        if one.size.is_some_and(|size| size > max) {
            return self.header(one.uid).await;
        }
        let mut raw = Vec::with_capacity(one.size.unwrap_or(0).min(max) + 1);
        let mut short = false;
        loop {
            let command = format!("UID FETCH {} (UID BODY.PEEK[]<{}.{PIECE}>)", one.uid, raw.len());
            let (start, mut got) = (raw.len(), None);
            let wire = &mut self.wire;
            wire.ask(&command, PIECE, |response| {
                let Response::Fetch(_, attributes) = response else { return };
                if uid_of(attributes) == Some(one.uid)
                    && let Some((origin, piece)) = body_of(attributes)
                    && origin.unwrap_or(0) == start
                {
                    raw.truncate(start);
                    raw.extend_from_slice(piece);
                    got = Some(piece.len());
                }
            })
            .await?;
            match got {
                // Some servers have no word for what is behind the end, and some count line ends their own way.
                None if short && one.size.is_none_or(|size| raw.len() >= size - size / 4) => {
                    return Ok(Fetched::Whole(raw));
                }
                None => return Ok(Fetched::Gone),
                Some(0) => return Ok(Fetched::Whole(raw)),
                Some(_) if raw.len() > max => return self.header(one.uid).await,
                Some(octets) => short = octets < PIECE,
            }
            if short && one.size.is_some_and(|size| raw.len() >= size) {
                return Ok(Fetched::Whole(raw));
            }
        }
    }

    async fn header(&mut self, uid: u32) -> Result<Fetched, ImapProblem> {
        let mut header = None;
        let command = format!("UID FETCH {uid} (UID BODY.PEEK[HEADER]<0.{HEADER}>)");
        let wire = &mut self.wire;
        wire.ask(&command, HEADER, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let found = attributes.iter().find_map(|attribute| match attribute {
                AttributeValue::BodySection {
                    section: Some(SectionPath::Full(MessageSection::Header)),
                    data,
                    ..
                } => Some(data.as_deref().unwrap_or_default()),
                _ => None,
            });
            if let (Some(octets), true) = (found, uid_of(attributes) == Some(uid)) {
                header = Some(octets.to_vec());
            }
        })
        .await?;
        Ok(header.map_or(Fetched::Gone, Fetched::TooLarge))
    }
}

fn uid_of(attributes: &[AttributeValue<'_>]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })
}

/// Where a piece starts, and its octets. A message without any is one all the same.
fn body_of<'a>(attributes: &'a [AttributeValue<'_>]) -> Option<(Option<usize>, &'a [u8])> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::BodySection { section: None, index, data } => {
            let origin = index.and_then(|index| usize::try_from(index).ok());
            Some((origin, data.as_deref().unwrap_or_default()))
        }
        _ => None,
    })
}
