//! What an inbound message is. A table of rules over facts, first match wins, each verdict with its reason (design section 5).

use super::words::words;

words! {
    /// What a message was found to be.
    Verdict {
        SupportMessage = "support_message",
        StaffReply = "staff_reply",
        InternalNote = "internal_note",
        RejectedStaff = "rejected_staff",
        Unsubscribe = "unsubscribe",
        Join = "join",
        BounceHard = "bounce_hard",
        BounceSoft = "bounce_soft",
        BounceDelayed = "bounce_delayed",
        Complaint = "complaint",
        AutoReply = "auto_reply",
        Receipt = "receipt",
        Loop = "loop",
        Unreadable = "unreadable",
    }
}
