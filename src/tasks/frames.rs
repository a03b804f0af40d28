//! The constant part of our messages, from what operator and editors set.

use crate::domain::publication::Publication;
use crate::domain::settings::Settings;
use crate::mail::compose::{Frame, Kind, ListId, ReplyTo};

/// The frame of an edition.
pub fn edition(settings: &Settings, publication: &Publication) -> Frame {
    let domain = publication.from.address.domain();
    Frame {
        kind: Kind::Newsletter,
        from_name: publication.from.name.clone(),
        from_address: publication.from.address.as_str().to_owned(),
        reply_to: ReplyTo::Edition,
        unsubscribe: settings.addresses.unsubscribe.clone(),
        archive_url: Some(format!("{}/archive", publication.url)),
        upgrade_url: publication.upgrade_url.clone(),
        owner: Some(settings.desk.mailbox.address.as_str().to_owned()),
        join: settings.addresses.join.as_ref().map(|address| address.as_str().to_owned()),
        // One list for the life of the publication, whatever it is called (RFC 2919).
        list_id: Some(ListId { phrase: publication.name.clone(), id: format!("newsletter.{domain}") }),
        ..bare(settings, publication)
    }
}

/// The frame of a notice to staff, whose answers come back for the thread and the member.
pub fn notice(settings: &Settings, publication: &Publication) -> Frame {
    bare(settings, publication)
}

/// The frame of an answer to a subscriber: a person wrote it, and answers to it go on in the same conversation.
pub fn answer(settings: &Settings, publication: &Publication) -> Frame {
    Frame { kind: Kind::Answer, reply_to: ReplyTo::Thread, ..bare(settings, publication) }
}

/// The frame of the automatic answer to a question.
pub fn acknowledgement(settings: &Settings, publication: &Publication) -> Frame {
    Frame { kind: Kind::Acknowledgement, reply_to: ReplyTo::Thread, ..bare(settings, publication) }
}

/// The frame of a report to editors about the edition with this row; 0: about none.
pub fn report(settings: &Settings, publication: &Publication, edition: i64) -> Frame {
    Frame { reply_to: ReplyTo::Editors(edition), ..bare(settings, publication) }
}

/// The frame of a mail to one reader that the daemon writes by itself: confirmations and welcomes, which can be answered.
pub fn reader(settings: &Settings, publication: &Publication) -> Frame {
    Frame {
        from_name: publication.from.name.clone(),
        from_address: publication.from.address.as_str().to_owned(),
        reply_to: ReplyTo::Edition,
        ..bare(settings, publication)
    }
}

fn bare(settings: &Settings, publication: &Publication) -> Frame {
    let desk = &settings.desk.mailbox;
    Frame {
        kind: Kind::Notice,
        from_name: desk.name.clone(),
        from_address: desk.address.as_str().to_owned(),
        reply: settings.addresses.reply.clone(),
        reply_to: ReplyTo::Staff,
        bounce: settings.addresses.bounce.clone(),
        unsubscribe: None,
        url: publication.url.clone(),
        archive_url: None,
        upgrade_url: None,
        help_url: None,
        owner: None,
        join: None,
        feedback_id: None,
        message_id_domain: settings.message_id_domain.clone(),
        list_id: None,
        in_reply_to: None,
        references: Vec::new(),
    }
}
