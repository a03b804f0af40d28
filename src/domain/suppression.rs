//! Why an address must not be mailed.

use super::words::words;

words! {
    /// The reason is kept for good: it decides what may lift the suppression (W157).
    SuppressionReason {
        Unsubscribed = "unsubscribed",
        HardBounce = "hard_bounce",
        SoftLimit = "soft_limit",
        Complaint = "complaint",
        Manual = "manual",
        Erased = "erased",
    }
}
