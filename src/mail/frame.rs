//! Everything of a message that is the same for all recipients of one body, except the body. Frozen with it in the store as JSON.

use serde::{Deserialize, Serialize};

use crate::domain::settings::AddressPattern;
use crate::domain::token::{Purpose, TOKEN_MAX};

use super::compose::ComposeProblem;

/// RFC 5321 section 4.5.3.1.1.
const LOCAL_MAX: usize = 64;
/// Room for the token, the folding and the header name in a line of 998 octets (RFC 5322 section 2.1.1).
const URL_MAX: usize = 800;
/// RFC 2919 section 2 caps the identifier.
const LIST_ID_MAX: usize = 255;
/// Four names, of which the longest is a slug or tier of 64.
const FEEDBACK_ID_MAX: usize = 250;
/// Some relays refuse headers over 4,096 octets, so old ancestors are left out.
const REFERENCES_MAX: usize = 1_500;

/// What a message is, which decides the headers that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An edition: List-*, one-click unsubscribe, `Precedence: bulk` (RFC 2369, RFC 8058, W35, W49). A person wrote it, so no
    /// Auto-Submitted (W50).
    Newsletter,
    /// Written by the daemon: `Auto-Submitted: auto-generated` (RFC 3834 section 5) and a loop mark.
    Notice,
    /// Written by the daemon because somebody wrote: `Auto-Submitted: auto-replied`, and nothing may answer it.
    Acknowledgement,
    /// Written by a person to a person: none of these.
    Answer,
}

/// Where an answer to the message goes, in the purpose of the token in Reply-To.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyTo {
    Edition,
    Thread,
    Staff,
    /// Of a report about this edition; 0: about none that is in the store.
    Editors(i64),
}

impl ReplyTo {
    pub(super) fn purpose(self) -> Purpose {
        match self {
            ReplyTo::Edition => Purpose::Edition,
            ReplyTo::Thread => Purpose::Thread,
            ReplyTo::Staff => Purpose::Staff,
            ReplyTo::Editors(_) => Purpose::Editors,
        }
    }
}

/// `Example News <weekly.news.example.org>`, split (RFC 2919). The identifier is for the life of the list, the phrase may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListId {
    pub phrase: String,
    pub id: String,
}

/// The constant part of a message. URLs have no slash at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub kind: Kind,
    pub from_name: String,
    pub from_address: String,
    pub reply: AddressPattern,
    pub reply_to: ReplyTo,
    pub bounce: AddressPattern,
    /// Adds a `mailto:` to List-Unsubscribe.
    pub unsubscribe: Option<AddressPattern>,
    /// The public site; the links of a recipient are below it.
    pub url: String,
    pub archive_url: Option<String>,
    pub upgrade_url: Option<String>,
    pub help_url: Option<String>,
    /// Where a person who runs the list is reached (RFC 2369 section 3.5).
    #[serde(default)]
    pub owner: Option<String>,
    /// A mail to it asks to join (RFC 2369 section 3.3).
    #[serde(default)]
    pub join: Option<String>,
    /// By what complaints are counted: edition, tier, kind and sender. See [`Frame::of_edition`].
    #[serde(default)]
    pub feedback_id: Option<String>,
    pub message_id_domain: String,
    pub list_id: Option<ListId>,
    /// Of an answer: the Message-ID it answers, without angle brackets.
    #[serde(default)]
    pub in_reply_to: Option<String>,
    /// Of an answer: the conversation so far, oldest first, without angle brackets.
    #[serde(default)]
    pub references: Vec<String>,
}

impl Frame {
    /// The frame of one tier's body, with the Feedback-ID by which large providers count complaints (W48): three names of ours,
    /// none of them of one person, and a sender of 5 to 15 characters that never changes.
    pub fn of_edition(&self, slug: &str, tier: &str) -> Frame {
        let domain = self.from_address.rsplit('@').next().unwrap_or_default();
        let mut sender: String = domain.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
        while sender.len() < 5 {
            sender.push('0');
        }
        Frame { feedback_id: Some(format!("{slug}:{tier}:newsletter:{sender}")), ..self.clone() }
    }

    /// Refuses what would make a broken header, before anybody gets one.
    pub(super) fn check(&self) -> Result<(), ComposeProblem> {
        let urls =
            [Some(&self.url), self.archive_url.as_ref(), self.upgrade_url.as_ref(), self.help_url.as_ref()];
        for url in urls.into_iter().flatten() {
            if url.len() > URL_MAX {
                return Err(ComposeProblem::LongUrl(url.len()));
            }
            let web = url.starts_with("https://") || url.starts_with("http://");
            if !web || !is_token(url) {
                return Err(ComposeProblem::Frame("a URL"));
            }
        }
        // RFC 8058 section 3.1: the one-click URI is HTTPS.
        if self.kind == Kind::Newsletter && !self.url.starts_with("https://") {
            return Err(ComposeProblem::NotHttps);
        }
        if !is_token(&self.from_address) || !self.from_address.contains('@') {
            return Err(ComposeProblem::Frame("from_address"));
        }
        if !is_token(&self.message_id_domain) || self.message_id_domain.len() > 255 {
            return Err(ComposeProblem::Frame("message_id_domain"));
        }
        for pattern in
            [Some(&self.reply), Some(&self.bounce), self.unsubscribe.as_ref()].into_iter().flatten()
        {
            let room = LOCAL_MAX.saturating_sub(pattern.before.len() + pattern.after.len());
            if room < TOKEN_MAX || !is_token(&pattern.with("t")) {
                return Err(ComposeProblem::Frame("an address pattern"));
            }
        }
        for address in [&self.owner, &self.join].into_iter().flatten() {
            if !is_token(address) || !address.contains('@') {
                return Err(ComposeProblem::Frame("an address of the list"));
            }
        }
        if self.feedback_id.as_ref().is_some_and(|id| !is_token(id) || id.len() > FEEDBACK_ID_MAX) {
            return Err(ComposeProblem::Frame("feedback_id"));
        }
        match &self.list_id {
            Some(list) if !is_list_id(&list.id) => Err(ComposeProblem::Frame("list_id")),
            _ => Ok(()),
        }
    }

    /// The ids for References that are fit for a header: the first, and as many of the newest as there is room for.
    pub(super) fn cited(&self) -> Vec<String> {
        let fit = |id: &&String| is_token(id) && id.len() <= 250;
        let ids: Vec<&String> = self.references.iter().filter(fit).collect();
        let Some((first, rest)) = ids.split_first() else { return Vec::new() };
        let mut room = REFERENCES_MAX.saturating_sub(first.len());
        let newest = rest.iter().rev().take_while(|id| {
            let fits = id.len() + 3 <= room;
            room = room.saturating_sub(id.len() + 3);
            fits
        });
        let mut kept: Vec<String> = newest.map(|id| format!("<{id}>")).collect();
        kept.push(format!("<{first}>"));
        kept.reverse();
        kept
    }

    pub(super) fn answered(&self) -> Option<String> {
        self.in_reply_to.as_ref().filter(|id| is_token(id) && id.len() <= 250).map(|id| format!("<{id}>"))
    }
}

/// Printable ASCII without spaces, angle brackets or quotes: safe between angle brackets in a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"' | b'\\'))
}

/// RFC 2919 section 3, without the parts that nobody uses.
fn is_list_id(id: &str) -> bool {
    let label = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    id.len() <= LIST_ID_MAX && id.contains('.') && id.split('.').all(label)
}
