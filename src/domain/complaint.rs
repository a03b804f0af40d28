//! What a feedback report asks for (RFC 5965; W152), and when complaints are too many (W154).

use super::words::words;

words! {
    /// Its Feedback-Type.
    FeedbackType {
        /// A reader pressed the button for unwanted mail.
        Abuse = "abuse",
        OptOut = "opt-out",
        Fraud = "fraud",
        Virus = "virus",
        NotSpam = "not-spam",
        AuthFailure = "auth-failure",
        Other = "other",
    }
}

impl FeedbackType {
    /// The type of a field's value, whatever its case; what is not registered is `other`.
    pub fn of(value: &str) -> FeedbackType {
        let word = value.trim().to_lowercase();
        match word.as_str() {
            "opt-out-list" => FeedbackType::OptOut,
            "dmarc" | "dkim" | "miscategorized" => FeedbackType::AuthFailure,
            word => FeedbackType::from_word(word).unwrap_or(FeedbackType::Other),
        }
    }

    /// What follows for the reader whose mail it is about.
    pub fn effect(self) -> Effect {
        match self {
            FeedbackType::Abuse => Effect::Complained,
            FeedbackType::OptOut => Effect::Leaves,
            FeedbackType::Fraud | FeedbackType::Virus | FeedbackType::Other => Effect::Alarm,
            FeedbackType::NotSpam | FeedbackType::AuthFailure => Effect::Nothing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Unsubscribed, and suppressed as a complaint.
    Complained,
    /// Unsubscribed.
    Leaves,
    /// A person has to look.
    Alarm,
    Nothing,
}

/// Complaints and what was taken by the same provider of the same edition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    pub complaints: i64,
    pub delivered: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alert {
    /// 0.1 % and more.
    Warn,
    /// 0.3 % and more, of at least 1000 mails or with at least 3 complaints.
    Stop,
}

impl Share {
    /// So many delivered mails are enough to know that the share is below every limit.
    pub fn enough(complaints: i64) -> i64 {
        complaints.saturating_mul(1000).saturating_add(1)
    }

    pub fn alert(self) -> Option<Alert> {
        let Share { complaints, delivered } = self;
        let many = delivered >= 1000 || complaints >= 3;
        if many && complaints * 1000 >= delivered * 3 {
            Some(Alert::Stop)
        } else {
            (complaints * 1000 >= delivered).then_some(Alert::Warn)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w152_each_type_has_its_effect() {
        for (value, effect) in [
            ("Abuse", Effect::Complained),
            ("opt-out", Effect::Leaves),
            ("opt-out-list", Effect::Leaves),
            ("fraud", Effect::Alarm),
            ("virus", Effect::Alarm),
            ("not-spam", Effect::Nothing),
            ("auth-failure", Effect::Nothing),
            ("feedback-report", Effect::Alarm),
            ("", Effect::Alarm),
        ] {
            assert_eq!(FeedbackType::of(value).effect(), effect, "{value}");
        }
    }

    #[test]
    fn w154_three_of_a_thousand_stop_and_one_of_a_hundred_warns() {
        let alert = |complaints, delivered| Share { complaints, delivered }.alert();
        assert_eq!(alert(3, 1000), Some(Alert::Stop));
        assert_eq!(alert(1, 100), Some(Alert::Warn));
        assert_eq!(alert(3, 100), Some(Alert::Stop));
        assert_eq!(alert(1, 1000), Some(Alert::Warn));
        assert_eq!(alert(2, 1000), Some(Alert::Warn));
        assert_eq!(alert(1, 1001), None);
        assert_eq!(alert(5, Share::enough(5)), None);
    }
}
