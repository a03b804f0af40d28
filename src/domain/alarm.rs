//! What operators are told of, once per cause and hour.

use std::time::Duration;

use super::words::words;

/// No cause tells the same operators more often than this.
pub const EVERY: Duration = Duration::from_secs(3600);

/// Mail that tells of itself, as that to an operator who cannot be reached.
const SELDOM: Duration = Duration::from_secs(86_400);

words! {
    /// Why operators are told. What it is about (a relay, an edition) stands beside it.
    AlarmCause {
        RelayDown = "relay_down",
        RelayRefuses = "relay_refuses",
        LanePaused = "lane_paused",
        LaneQuiet = "lane_quiet",
        StoreAway = "store_away",
        EditionAttention = "edition_attention",
        InboundQuarantined = "inbound_quarantined",
        DaemonDead = "daemon_dead",
        ConfigRefused = "config_refused",
        DiskLow = "disk_low",
        JoinFlood = "join_flood",
        StaffUnproven = "staff_unproven",
        Complaints = "complaints",
        ReportUnmatched = "report_unmatched",
        AbuseReport = "abuse_report",
        IntakeDown = "intake_down",
        IntakeRefuses = "intake_refuses",
        HouseUnreachable = "house_unreachable",
        MailLoop = "mail_loop",
    }
}

impl AlarmCause {
    /// The least time between two mails about the same.
    pub fn every(self) -> Duration {
        match self {
            AlarmCause::HouseUnreachable => SELDOM,
            _ => EVERY,
        }
    }

    /// As a person reads it.
    pub fn title(self) -> &'static str {
        match self {
            AlarmCause::RelayDown => "The relay is down",
            AlarmCause::RelayRefuses => "The relay refuses us",
            AlarmCause::LanePaused => "A lane is paused",
            AlarmCause::LaneQuiet => "A provider wants silence",
            AlarmCause::StoreAway => "The database is away",
            AlarmCause::EditionAttention => "An edition needs attention",
            AlarmCause::InboundQuarantined => "A received message was set aside",
            AlarmCause::DaemonDead => "A daemon died",
            AlarmCause::ConfigRefused => "The editors\u{2019} files are refused",
            AlarmCause::DiskLow => "The disk is nearly full",
            AlarmCause::JoinFlood => "Somebody floods the subscribe form",
            AlarmCause::StaffUnproven => "A mail in the name of staff is held",
            AlarmCause::Complaints => "Readers complain",
            AlarmCause::ReportUnmatched => "A complaint names nobody",
            AlarmCause::AbuseReport => "A report about our mail needs reading",
            AlarmCause::IntakeDown => "A mailbox cannot be read",
            AlarmCause::IntakeRefuses => "A mailbox refuses us",
            AlarmCause::HouseUnreachable => "Mail to one of us does not arrive",
            AlarmCause::MailLoop => "A program may be answering ours",
        }
    }

    /// What to do about it, as one sentence.
    pub fn action(self) -> &'static str {
        match self {
            AlarmCause::RelayDown | AlarmCause::RelayRefuses => {
                "Nothing is lost: recipients stay queued, and sending goes on by itself once the relay takes mail again."
            }
            AlarmCause::LanePaused => {
                "Editions stop leaving by it; `tidings lanes list` says why, `tidings lanes resume` lets them go on. Hard \
                bounces that are not believed wait: `tidings lanes held` shows them."
            }
            AlarmCause::LaneQuiet => {
                "Nothing leaves by the lane for ten minutes; then one connection tries, and more follow while it goes well."
            }
            AlarmCause::StoreAway => {
                "Nothing is sent and no mail is taken while it is away; both go on by themselves when it is back."
            }
            AlarmCause::EditionAttention => {
                "`tidings editions show` says what waits, `editions retry` tries it again, `editions cancel` ends it."
            }
            AlarmCause::InboundQuarantined => {
                "`tidings inbound list --state quarantined` names it, `tidings inbound rerun` tries it again."
            }
            AlarmCause::DaemonDead => {
                "What it had in flight is uncertain and follows `on_uncertain`; its log should say why it ended."
            }
            AlarmCause::ConfigRefused => {
                "What was read before stays in force; `tidings check` lists every problem with its place."
            }
            AlarmCause::JoinFlood => {
                "No confirmation mails leave until an hour has passed in which most of them are wanted; nobody is subscribed by it."
            }
            AlarmCause::StaffUnproven => {
                "Nothing of it was sent, and the member was told. If it was theirs, their mail server signs for another domain or not at all; `tidings inbound show` has it."
            }
            AlarmCause::Complaints => {
                "Who complained is unsubscribed; above 0.3 % providers stop taking mail, so see what the edition did differently."
            }
            AlarmCause::ReportUnmatched => {
                "Nobody was unsubscribed by it; `tidings inbound show` has it, and if it is real, its provider removes our marks."
            }
            AlarmCause::AbuseReport => {
                "It changed nothing; `tidings inbound show` has it: fraud or a virus in our name, or a type that nobody knows."
            }
            AlarmCause::IntakeDown | AlarmCause::IntakeRefuses => {
                "Answers wait there and nothing is lost; it is tried again and again, and after a change of settings at a restart."
            }
            AlarmCause::HouseUnreachable => {
                "Every mail to them is still tried, and what they miss is at the desk and in `tidings inbox list`; see whether their address is right in [[desk.staff]], `editors` and `operators`."
            }
            AlarmCause::MailLoop => {
                "Mails about it rest for three hours; nothing is lost, `tidings inbox show` and `tidings inbound list` have what came."
            }
            AlarmCause::DiskLow => {
                "Make room before it is full: then nothing can be sent and no mail can be taken."
            }
        }
    }
}
