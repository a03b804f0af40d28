//! What is known of large mailbox providers: data with a date, which `config` reads from a file.

use std::collections::BTreeMap;

use super::doctor::Check;

/// Everything, as of one day.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Providers {
    /// Year-month-day.
    pub dated: String,
    /// What they answer to mail with a fault, by the key of the check that finds it (W165).
    pub codes: BTreeMap<String, Vec<String>>,
    pub lanes: Vec<SuggestedLane>,
}

/// Where one starts with the domains of one provider (W117).
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuggestedLane {
    pub provider: String,
    /// Its large domains, lower case.
    pub r#match: Vec<String>,
    pub connections: u32,
    pub messages_per_connection: u32,
}

impl Providers {
    /// Adds what providers would answer to each finding.
    pub fn name_codes(&self, checks: &mut [Check]) {
        for check in checks.iter_mut().filter(|check| check.is_finding()) {
            check.codes = self.codes.get(check.key).cloned().unwrap_or_default();
        }
    }
}
