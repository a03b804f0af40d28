//! Where each rule about the message, its list headers, its signature and the names behind it is tested. The numbers are those of
//! the wire rules that code and tests cite; M must, S should, P advised. Every test that is named here has to exist.
//!
//! | W1 | M | w1_every_line_end_becomes_crlf, w1_w2_no_input_ends_a_line_or_the_message |
//! | W2 | M | w1_w2_no_input_ends_a_line_or_the_message, w2_nothing_can_end_the_message_early |
//! | W3 | M | w3_dots_need_no_stuffing, w3_dots_are_stuffed |
//! | W4 | M | w4_w5_long_lines_and_letters_leave_as_short_ascii, w30_w32_too_much_is_an_error |
//! | W5 | M | w4_w5_long_lines_and_letters_leave_as_short_ascii |
//! | W6 | S | w6_picks_the_smaller_one, w6_encoding_follows_the_text, w6_base64_keeps_its_padding |
//! | W7 | M | w7_quoted_printable_is_exact, w7_long_lines_break_softly, w7_pieces_decode_to_their_sum |
//! | W8 | M | w8_long_text_decodes_from_whole_words, w8_to_w11_hostile_names_stay_names |
//! | W9 | M | w9_words_only_in_phrases |
//! | W10 | S | w10_a_literal_word_stays_literal |
//! | W11 | M | w11_nothing_is_injected, w11_a_reader_changes_nothing_but_their_own_words, w11_an_editor_changes_nothing_but_their_own_words |
//! | W12 | M | w12_folds_before_white_space_only, w12_a_long_url_is_an_error_and_no_broken_header |
//! | W13 | M | w11_a_reader_changes_nothing_but_their_own_words, w8_to_w11_hostile_names_stay_names |
//! | W14 | M | w14_mailbox_takes_one_address |
//! | W15 | M | w15_date_is_the_first_attempt, w25_a_retry_has_the_same_octets_signature_and_all |
//! | W16 | M | w16_message_ids_are_stable_distinct_and_ours, w16_message_ids_are_distinct_stable_and_tell_nothing |
//! | W17 | M | w17_w21_text_first_then_html |
//! | W18 | M | w18_a_boundary_cannot_be_written_by_the_body |
//! | W19 | S | does not arise: mails have no inline images; pictures are published and linked |
//! | W20 | M | does not arise: mails have no attachments, and every parameter is made of ASCII that is ours |
//! | W21 | M | w17_w21_text_first_then_html |
//! | W22 | P | w22_w23_each_part_escapes_for_itself, w22_w45_a_way_out_and_an_address_are_needed |
//! | W23 | M | w22_w23_each_part_escapes_for_itself, hostile_words_stay_words |
//! | W24 | P | w24_conditions_leave_no_placeholder, place_holders_of_other_systems_are_named_in_articles |
//! | W25 | P | w25_the_same_delivery_gives_the_same_octets, w25_a_retry_has_the_same_octets_signature_and_all |
//! | W26 | P | w26_nobody_sees_another_reader |
//! | W27 | M | w27_w29_normalises_what_it_accepts, w27_w28_domains_in_ascii_and_local_parts_as_they_are |
//! | W28 | M | w27_w28_domains_in_ascii_and_local_parts_as_they_are |
//! | W29 | S | w27_w29_normalises_what_it_accepts, w29_keys_ignore_case |
//! | W30 | M | w30_w31_refuses_with_the_rule_that_is_broken, w30_w32_too_much_is_an_error |
//! | W31 | M | w30_w31_refuses_with_the_rule_that_is_broken |
//! | W32 | S | w30_w32_too_much_is_an_error |
//! | W33 | M | w33_any_text_comes_back, w33_any_name_comes_back |
//! | W34 | P | w34_nothing_of_the_inside_leaves |
//! | W35 | M | w35_w36_w38_one_click |
//! | W36 | M | w35_w36_w38_one_click |
//! | W37 | M | w37_w56_to_w62_the_recorded_mail_verifies_and_nothing_of_it_may_change, w37_w56_every_mail_of_the_demo_verifies |
//! | W38 | M | w35_w36_w38_one_click |
//! | W39 | M | w38_w39_w40_both_encodings_end_it_once_without_cookie_or_redirect |
//! | W40 | M | w38_w39_w40_both_encodings_end_it_once_without_cookie_or_redirect |
//! | W41 | S | w41_w217_get_head_and_options_change_nothing_on_any_link |
//! | W42 | P | w207_every_character_counts, w42_w207_every_wrong_link_is_answered_alike |
//! | W43 | M | w43_a_claim_reads_consent_suppression_and_entitlement_again |
//! | W44 | S | w44_an_unsubscribe_by_mail_names_the_tokens_owner_whatever_the_from_says |
//! | W45 | M | w22_w45_a_way_out_and_an_address_are_needed |
//! | W46 | S | w46_w47_list_fields_when_they_exist |
//! | W47 | S | w46_w47_list_fields_when_they_exist |
//! | W48 | S | w48_a_feedback_id_counts_editions_and_tiers_and_never_people |
//! | W49 | S | w49_to_w51_each_kind_says_what_it_is |
//! | W50 | M | w49_to_w51_each_kind_says_what_it_is |
//! | W51 | M | w49_to_w51_each_kind_says_what_it_is |
//! | W52 | M | w52_a_program_opens_nothing_and_reopens_nothing, some_people_get_no_automatic_answer |
//! | W53 | S | w65_to_w84_each_fault_is_one_finding_with_its_fix |
//! | W54 | S | w54_a_confirmation_says_who_asked_and_has_its_link_twice |
//! | W55 | P | left out: CFBL-Address is an experiment, and no large provider reads it |
//! | W56 | M | w56_the_rsa_vector_of_rfc_8463_reproduces, w37_w56_every_mail_of_the_demo_verifies |
//! | W57 | M | w57_what_cannot_sign_is_named, w57_w66_mistakes_are_told_with_their_place |
//! | W58 | S | w58_examples_of_rfc_6376, w58_a_body_of_nothing_is_empty, w58_bodies_are_relaxed_by_the_book |
//! | W59 | M | w59_w60_names_of_what_is_there_and_one_more |
//! | W60 | S | w59_w60_names_of_what_is_there_and_one_more, w60_what_is_not_there_may_not_be_added |
//! | W61 | M | w37_w56_to_w62_the_recorded_mail_verifies_and_nothing_of_it_may_change |
//! | W62 | S | w37_w56_to_w62_the_recorded_mail_verifies_and_nothing_of_it_may_change |
//! | W63 | S | w63_an_ed25519_signature_is_the_second_one, w63_the_ed25519_vector_of_rfc_8463_reproduces, w63_an_ed25519_key_beside_an_rsa_key_is_no_problem |
//! | W64 | M | w64_every_key_leaves_its_own_signature |
//! | W65 | M | w65_to_w84_each_fault_is_one_finding_with_its_fix, w65_to_w84_each_record_that_is_broken_is_found_once_with_its_fix_and_its_code, w65_w67_a_generated_key_is_private_and_its_settings_check |
//! | W66 | M | w57_w66_mistakes_are_told_with_their_place, w66_a_key_signs_for_the_domains_that_it_is_aligned_with, w66_w71_w83_alignment_by_the_tree_walk |
//! | W67 | P | w67_keys_change_in_the_middle_of_an_edition, w67_a_key_that_others_can_read_is_a_warning_with_its_remedy, w67_w73_w117_keys_relays_and_lanes |
//! | W68 | S | w68_a_test_mail_is_sent_by_the_queue_and_verified_after_the_relay, w68_a_test_mail_waits_for_a_daemon_and_says_so |
//! | W69 | M | w65_to_w84_each_fault_is_one_finding_with_its_fix, w69_all_ways_to_pass |
//! | W70 | M | w65_to_w84_each_fault_is_one_finding_with_its_fix, w70_ten_lookups_are_in_the_budget_and_a_circle_ends |
//! | W71 | S | w65_to_w84_each_fault_is_one_finding_with_its_fix, w66_w71_w83_alignment_by_the_tree_walk |
//! | W72 | M | w65_to_w84_each_fault_is_one_finding_with_its_fix, w69_all_ways_to_pass |
//! | W73 | M | w67_w73_w117_keys_relays_and_lanes |
//! | W74 | M | w65_to_w84_each_fault_is_one_finding_with_its_fix, w65_to_w84_each_record_that_is_broken_is_found_once_with_its_fix_and_its_code |
//! | W75 | S | w65_to_w84_each_fault_is_one_finding_with_its_fix |
//! | W76 | P | does not arise: ARC is for forwarders; nothing is forwarded |
//! | W77 | P | w77_what_cannot_be_looked_up_is_unknown_once_and_never_well, w77_a_name_server_that_fails_or_is_silent_is_no_pass_and_no_failure |
//! | W78 | P | w78_what_the_world_sees_of_the_pages, w78_a_database_that_cannot_be_opened_is_a_finding_beside_the_others, w78_a_clock_is_right_within_a_minute_of_every_other |
//! | W79 | P | w79_a_whole_setup_has_no_finding_and_each_check_is_one_object |
//! | W80 | M | w80_eight_names_are_asked_at_most |
//! | W81 | M | w65_to_w84_each_fault_is_one_finding_with_its_fix, w65_to_w84_each_record_that_is_broken_is_found_once_with_its_fix_and_its_code |
//! | W82 | S | w65_to_w84_each_fault_is_one_finding_with_its_fix, w82_a_test_lowers_the_policy_by_one |
//! | W83 | M | w66_w71_w83_alignment_by_the_tree_walk |
//! | W84 | S | w65_to_w84_each_fault_is_one_finding_with_its_fix, w84_reports_elsewhere_are_welcome_where_it_is_said |
//! | W158 | P | w35_w36_w38_one_click, w22_w45_a_way_out_and_an_address_are_needed, w37_w56_every_mail_of_the_demo_verifies, w79_a_whole_setup_has_no_finding_and_each_check_is_one_object |
//! | W159 | S | w159_a_display_name_is_a_name, w159_a_senders_name_that_deceives_is_a_warning |
//! | W160 | S | w160_a_subject_that_is_no_answer, w160_w163_nothing_deceives |
//! | W161 | S | left out: a confirmation from an address that nobody knows is not opened; support answers and sign-in have one of their own |
//! | W162 | S | left out: a plan of days would be a second limit beside a lane's rate, which an operator raises; what is over it waits and never fails |
//! | W163 | S | w16_message_ids_are_distinct_stable_and_tell_nothing, w160_w163_nothing_deceives |
//! | W164 | S | w22_w45_a_way_out_and_an_address_are_needed |
//! | W165 | P | w65_to_w84_each_record_that_is_broken_is_found_once_with_its_fix_and_its_code |
//! | W166 | P | w166_a_rule_of_the_operators_decides_and_without_it_a_policy_refusal_suppresses_nobody, w166_mistakes_in_it_are_found_at_start_with_their_place, w166_the_embedded_data_have_a_date_and_name_domains_once |
//! | W167 | S | left out: nothing is tracked, so that only bounces tell who is gone, and those suppress by themselves |

use std::collections::BTreeSet;
use std::path::Path;

const TABLE: &str = include_str!("wire_rules.rs");
/// Sections A, B, C, and F.
const NUMBERS: [std::ops::RangeInclusive<usize>; 2] = [1..=84, 158..=167];

pub struct Rule {
    pub number: usize,
    pub level: String,
    pub tests: Vec<String>,
    pub reason: Option<String>,
}

fn rules(table: &str) -> Vec<Rule> {
    rules_after(table, "//! | W")
}

/// The rows that start so.
pub fn rules_after(table: &str, start: &str) -> Vec<Rule> {
    let rows = table.lines().filter_map(|line| line.strip_prefix(start)?.strip_suffix(" |"));
    rows.map(|row| {
        let mut cells = row.splitn(3, " | ").map(str::trim);
        let mut next = || cells.next().unwrap_or_else(|| panic!("{row}"));
        let (number, level, place) = (next().parse().unwrap(), next().to_owned(), next());
        let named = |word: &&str| word.contains('_');
        let words = place.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let without =
            ["does not arise: ", "elsewhere: ", "left out: "].iter().any(|start| place.starts_with(start));
        Rule {
            number,
            level,
            tests: words.filter(named).map(str::to_owned).collect(),
            reason: without.then(|| place.to_owned()),
        }
    })
    .collect()
}

/// The names of all tests of the house.
pub fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.extend(tests_of(&std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// Functions behind a test attribute, with or without other attributes and comments between.
fn tests_of(source: &str) -> Vec<String> {
    let (mut found, mut marked) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ") {
            Some(rest) if marked => {
                found.extend(rest.split('(').next().map(str::to_owned));
                marked = false;
            }
            _ if line == "#[test]" || line.starts_with("#[tokio::test") => marked = true,
            _ if line.is_empty() || line.starts_with("//") || line.starts_with("#[") => {}
            _ => marked = false,
        }
    }
    found
}

#[test]
fn every_rule_names_tests_that_exist_or_says_why_not() {
    let (rules, tests) = (rules(TABLE), tests());
    assert!(tests.len() > 300, "the tests were not found");
    let numbers: Vec<usize> = rules.iter().map(|rule| rule.number).collect();
    let wanted: Vec<usize> = NUMBERS.into_iter().flatten().collect();
    assert_eq!(numbers, wanted, "each rule once, in order");
    for Rule { number, level, tests: named, reason } in rules {
        assert!(["M", "S", "P"].contains(&level.as_str()), "W{number}: {level}");
        for name in &named {
            assert!(tests.contains(name), "W{number}: there is no test {name}");
        }
        match reason {
            Some(reason) => assert!(level != "M" || !reason.starts_with("left out"), "W{number} is a must"),
            None => assert!(!named.is_empty(), "W{number} has neither a test nor a reason"),
        }
    }
}

#[test]
fn the_table_is_read_as_it_is_written() {
    let read = rules("//! | W7 | M | w7_a, w7_b |\n//! | W8 | P | left out: because |\nno row\n");
    assert_eq!(read.iter().map(|rule| rule.number).collect::<Vec<_>>(), [7, 8]);
    assert_eq!(read[0].tests, ["w7_a", "w7_b"]);
    assert!(read[0].reason.is_none() && read[1].reason.is_some() && read[1].tests.is_empty());
    let source = "#[test]\nfn w1_a() {}\nfn not_a_test() {}\n#[tokio::test]\n/// Why.\nasync fn w2_b() {}\n";
    assert_eq!(tests_of(source), ["w1_a", "w2_b"]);
}
