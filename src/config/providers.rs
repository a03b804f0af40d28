//! The provider data of this binary: `providers.toml` beside this file.

use std::sync::LazyLock;

use crate::domain::provider::Providers;

const BUILT_IN: &str = include_str!("providers.toml");

static OURS: LazyLock<Providers> =
    LazyLock::new(|| toml::from_str(BUILT_IN).expect("the embedded provider data are read by a test"));

pub fn built_in() -> &'static Providers {
    &OURS
}

#[cfg(test)]
mod tests {
    #[test]
    fn w166_the_embedded_data_have_a_date_and_name_domains_once() {
        let ours = super::built_in();
        assert!(ours.dated.parse::<chrono::NaiveDate>().is_ok());
        let mut domains: Vec<&String> = ours.lanes.iter().flat_map(|lane| &lane.r#match).collect();
        let count = domains.len();
        domains.sort();
        domains.dedup();
        assert_eq!(domains.len(), count);
        assert!(ours.codes.values().all(|codes| !codes.is_empty()));
    }
}
