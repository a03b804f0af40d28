//! Where each rule about content, law and public pages is tested, in the form of `wire_rules`, and the tests that they had none of.
//! Two rows are cases that other systems' users reported: T2 (scanners) and T6 (headers).
//!
//! | W168 | P | w168_size_warns_and_stops_at_its_borders, a_mail_that_would_be_cut_off_is_not_rendered |
//! | W169 | P | w22_w45_a_way_out_and_an_address_are_needed, w35_w36_w38_one_click |
//! | W170 | P | w170_the_preheader_is_the_summary_and_stands_once |
//! | W171 | S | links_and_pictures_are_checked, places_that_only_show_after_rendering_are_refused_too |
//! | W172 | S | w172_to_w176_the_shipped_mail_stands_without_its_styles |
//! | W173 | S | w172_to_w176_the_shipped_mail_stands_without_its_styles |
//! | W174 | S | w172_to_w176_the_shipped_mail_stands_without_its_styles |
//! | W175 | S | w172_to_w176_the_shipped_mail_stands_without_its_styles, scripts_styles_and_forms_go_with_what_they_hold |
//! | W176 | S | w172_to_w176_the_shipped_mail_stands_without_its_styles |
//! | W177 | P | links_and_pictures_are_checked |
//! | W178 | P | lines_are_at_most_72_columns, w22_w23_each_part_escapes_for_itself |
//! | W179 | P | includes_are_resolved_inside_the_folder_only, partials_that_include_each_other_are_found, unknown_fields_are_named_with_their_place |
//! | W180 | P | does not arise: nothing is tracked, neither opening nor clicking |
//! | W181 | P | w181_a_view_is_the_mail_of_that_delivery_and_nobody_elses |
//! | W182 | P | every_tier_gets_what_its_preview_shows |
//! | W183 | M | w22_w45_a_way_out_and_an_address_are_needed |
//! | W184 | M | w184_w185_a_link_of_last_year_still_leaves |
//! | W185 | M | w184_w185_a_link_of_last_year_still_leaves |
//! | W186 | M | w186_w211_a_confirmed_wish_becomes_a_subscription_with_its_evidence, one_person_whole_and_nobody_else |
//! | W187 | M | people_are_added_shown_and_let_go, consent_is_never_raised_and_a_suppression_is_reported |
//! | W188 | M | w45_w188_stop_everything_is_one_link_and_one_button_away |
//! | W189 | M | one_person_whole_and_nobody_else, w190_nothing_of_the_person_is_left_and_the_counts_add_up |
//! | W190 | M | w190_nothing_of_the_person_is_left_and_the_counts_add_up, w190_who_was_erased_stays_away |
//! | W191 | P | w191_ninety_one_days_later_details_are_gone_and_sums_stay, w191_consents_lose_where_from_and_keep_who_when_and_what |
//! | W192 | P | addresses_are_masked_at_every_level_and_fields_have_one_name |
//! | W193 | P | w193_the_button_of_the_page_leaves_and_may_be_taken_back_within_the_hour |
//! | W194 | P | left out: a list for people, which is written in the operator's documentation |
//! | W207 | P | w207_every_character_counts, w42_w207_every_wrong_link_is_answered_alike, a_token_is_no_link_and_no_cookie |
//! | W208 | P | a_rotated_key_verifies_and_keeps_first_attempts |
//! | W209 | P | w181_a_view_is_the_mail_of_that_delivery_and_nobody_elses, w41_w217_a_link_is_used_up_by_its_button_and_by_nothing_else |
//! | W210 | P | w210_w216_the_page_tells_nothing_and_the_mail_fits_who_asked, w210_the_form_answers_the_same_whoever_asks |
//! | W211 | S | w186_w211_a_confirmed_wish_becomes_a_subscription_with_its_evidence |
//! | W212 | P | w212_an_address_gets_one_mail_a_day_and_three_that_it_does_not_answer, w212_w213_w219_few_links_for_an_address_few_asks_from_a_place |
//! | W213 | P | w213_robots_and_floods_are_turned_away, w213_nobody_but_a_known_proxy_says_who_asks |
//! | W214 | P | w214_many_mails_that_nobody_confirms_stop_all_of_them_for_an_hour |
//! | W215 | P | w215_a_wish_that_nobody_confirms_is_deleted_with_all_that_belongs_to_it |
//! | W216 | P | w216_who_bounced_or_complained_gets_nothing, w210_w216_the_page_tells_nothing_and_the_mail_fits_who_asked |
//! | W217 | S | w41_w217_get_head_and_options_change_nothing_on_any_link, w41_w217_a_link_is_used_up_by_its_button_and_by_nothing_else |
//! | W218 | P | does not arise: nothing is counted from what is opened |
//! | W219 | P | w219_long_slow_and_odd_requests_are_turned_away_and_the_next_one_is_answered, w219_what_is_no_form_has_a_status |
//! | W220 | P | w220_thousands_from_one_address_are_all_honoured_while_sending_goes_on |
//! | W221 | P | subscribe_confirm_active_and_leave_in_a_browser, who_signs_out_is_out_and_no_other_site_does_it_for_them |
//! | W222 | P | does not arise: no link leads over us; the_way_back_stays_on_these_pages is about signing in |
//! | W223 | P | w223_names_are_text, what_is_typed_is_text |
//! | W224 | P | w224_the_public_listener_has_no_private_page |
//! | W225 | P | does not arise: nothing is fetched from an address that somebody else wrote |
//! | W226 | P | formulas_are_escaped_and_pages_follow_one_another, hostile_csv_t8 |
//! | W227 | P | a_slot_date_is_queued_once, queueing_takes_the_audience_once |
//! | W228 | P | secrets_are_named_and_never_printed, w67_a_key_that_others_can_read_is_a_warning_with_its_remedy |
//! | T2 | M | w41_w217_get_head_and_options_change_nothing_on_any_link, w38_w39_w40_both_encodings_end_it_once_without_cookie_or_redirect, a_link_of_a_wish_that_is_gone_confirms_nobody_elses |
//! | T6 | M | t6_hostile_headers_decode_to_what_was_written |

use std::time::Duration;

use mail_parser::MessageParser;
use tidings::domain::subscriber::SubscriberStatus;
use tidings::domain::token::Purpose;
use tidings::mail::compose::{Compiled, Kind};
use tidings::tasks::retention::Retention;

use crate::compose_wire::{body, fields, frame, keyring, literal, parts, recipient};
use crate::render_support::{article, filled, render};
use crate::support::public::Front;
use crate::support::stores::{TestStore, on_every_store};
use crate::wire_rules::{Rule, rules_after, tests};

const TABLE: &str = include_str!("wire_rules_pages.rs");

#[test]
fn every_rule_of_pages_names_tests_that_exist_or_says_why_not() {
    let (found, known) = (rules_after(TABLE, "//! | W"), tests());
    let numbers: Vec<usize> = found.iter().map(|rule| rule.number).collect();
    assert_eq!(numbers, (168..=194).chain(207..=228).collect::<Vec<_>>(), "each rule once, in order");
    let cases = rules_after(TABLE, "//! | T");
    assert_eq!(cases.iter().map(|case| case.number).collect::<Vec<_>>(), [2, 6]);
    for Rule { number, level, tests: named, reason } in found.into_iter().chain(cases) {
        assert!(["M", "S", "P"].contains(&level.as_str()), "{number}: {level}");
        for name in &named {
            assert!(known.contains(name), "{number}: there is no test {name}");
        }
        match reason {
            Some(reason) => assert!(level == "P" && !reason.is_empty(), "{number} is no advice"),
            None => assert!(!named.is_empty(), "{number} has neither a test nor a reason"),
        }
    }
}

#[test]
fn t6_hostile_headers_decode_to_what_was_written() {
    let mut from = frame(Kind::Newsletter);
    (from.from_name, from.from_address) = ("ВсеОтзывы.ру, Inc.".into(), "n@ex.org".into());
    let subject = format!("Wöchentlich 📬 {{{{name}}}}{}", "ä".repeat(60));
    let mut written = body();
    written.subject = vec![literal(&subject)];
    let compiled = Compiled::new(&from, &written).unwrap();
    for name in ["O'Brien & <Söhne>", "Bob\r\nBcc: x@y.z"] {
        let mut to = recipient(1);
        to.name = name.into();
        let mut wire = Vec::new();
        compiled.compose(&keyring(), &to, &mut wire).unwrap();
        let wire = String::from_utf8(wire).unwrap();
        let message = MessageParser::new().parse(wire.as_bytes()).unwrap();
        assert_eq!(message.subject(), Some(subject.as_str()));
        let of = fields(&wire);
        assert!(of.iter().all(|(field, _)| !field.eq_ignore_ascii_case("bcc")), "{of:?}");
        let author = &of.iter().find(|(field, _)| field == "From").unwrap().1;
        assert!(author.ends_with(" <n@ex.org>") && author.starts_with("=?"), "{author}");
        let first = message.from().unwrap().first().unwrap();
        assert_eq!((first.name(), first.address()), (Some("ВсеОтзывы.ру, Inc."), Some("n@ex.org")));
        let head = wire.split("\r\n\r\n").next().unwrap();
        for word in head.split_whitespace().filter(|word| word.starts_with("=?")) {
            assert!(word.len() <= 75, "{word}");
        }
        let (_, text, html) = parts(&wire);
        if !name.contains('\n') {
            assert!(text.starts_with(&format!("Dear {name},")), "{text}");
            assert!(html.contains("O&#39;Brien &amp; &lt;Söhne&gt;"), "{html}");
        }
    }
}

/// A mail of the shipped templates with this article.
fn shipped_mail(text: &str, tier: &str) -> [String; 3] {
    filled(&render(&[article(text).unwrap()], tier).unwrap().body)
}

#[test]
fn w168_size_warns_and_stops_at_its_borders() {
    let sized = |words: usize| render(&[article(&format!("{}\n", "word ".repeat(words))).unwrap()], "yearly");
    let of = |words: usize| sized(words).map(|mail| filled(&mail.body)[1].len());
    let frame = of(1).unwrap();
    let warns = |words: usize| {
        let mail = sized(words).unwrap();
        mail.warnings.iter().any(|problem| problem.key == "size")
    };
    // Each word is five octets; a margin for what is counted beside the body.
    let (under, over) = ((89_000 - frame) / 5, (91_000 - frame) / 5);
    assert!(!warns(under), "{:?}", of(under));
    assert!(warns(over), "{:?}", of(over));
    assert!(sized((103_500 - frame) / 5).is_err());
}

#[test]
fn w170_the_preheader_is_the_summary_and_stands_once() {
    let [_, html, text] = shipped_mail("Words of it.\n\n<!-- more -->\n\nGATED words.\n", "free");
    let summary = "A summary";
    let (_, html) = html.split_once("<body").unwrap();
    let at = html.find(summary).unwrap_or_else(|| panic!("{html}"));
    let first_word = html.find("Words of it").unwrap();
    assert!(at < first_word, "first of all");
    assert!(html[at..].starts_with("A summary&#847;"), "followed by filler");
    assert!(html[..at].rfind("display:none").is_some_and(|hidden| at - hidden < 400), "hidden");
    assert!(text.matches(summary).count() <= 1 && !text.contains('\u{34f}'), "{text}");
}

#[test]
fn w172_to_w176_the_shipped_mail_stands_without_its_styles() {
    for tier in ["free", "yearly"] {
        let [_, html, _] = shipped_mail("Words.\n\n<!-- more -->\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", tier);
        let (head, rest) = html.split_once("</head>").unwrap();
        let styles: Vec<&str> =
            head.split("<style").skip(1).map(|part| part.split("</style>").next().unwrap()).collect();
        assert!(!styles.is_empty() && styles.iter().all(|style| style.len() < 8192), "W172");
        assert!(!rest.contains("<style") && !rest.contains("<link"), "W172: in the head only");
        assert!(
            !styles.iter().any(|style| style.contains("@media")
                && style.contains("height:")
                && style.contains("min-height")),
            "W173"
        );
        let widest = rest.split("width:").skip(1).filter_map(|part| {
            let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
            part[digits.len()..].starts_with("px").then(|| digits.parse::<u32>().unwrap_or(0))
        });
        assert!(widest.max().unwrap_or(0) <= 600, "W173");
        for wanted in
            ["name=\"color-scheme\" content=\"light dark\"", "prefers-color-scheme", "data-ogsc", "<title>"]
        {
            assert!(head.contains(wanted), "W174, W176: {wanted}");
        }
        for wrong in
            ["<script", "<form", "<video", "position:", "display:flex", "display:grid", "background-image"]
        {
            assert!(!rest.contains(wrong), "W175: {wrong}");
        }
        assert!(html.contains("<html lang=\"en\""), "W176");
        for table in rest.split("<table").skip(1) {
            let tag = table.split('>').next().unwrap();
            assert!(tag.contains("presentation") || tag.contains("class=\"ink\""), "W176: {tag}");
        }
    }
}

#[tokio::test]
async fn w184_w185_a_link_of_last_year_still_leaves() {
    on_every_store(|store| async move {
        let front = Front::start(&store).await;
        let id = front.add("ann@readers.example", "free").await;
        let link = front.link(Purpose::Unsubscribe, id);
        front.clock.advance(Duration::from_secs(400 * 86_400));
        // Whatever was thrown away meanwhile.
        let mut retention = Retention::new(store.clone(), front.setup.settings.retention.clone());
        while !retention.step(front.now()).await.unwrap().is_nothing() {}
        assert_eq!(front.post(&link, "List-Unsubscribe=One-Click").await.code, 200);
        assert_eq!(front.status("ann@readers.example").await, Some(SubscriberStatus::Unsubscribed));
    })
    .await;
}

#[tokio::test]
async fn w224_the_public_listener_has_no_private_page() {
    let test = TestStore::sqlite().await;
    let front = Front::start(&test.store).await;
    for path in ["/health", "/metrics", "/board", "/desk", "/threads/1", "/editions", "/admin", "/api"] {
        for method in ["GET", "POST"] {
            let answer = front.ask(method, path, "", "").await;
            assert_eq!(answer.code, 404, "{method} {path}");
        }
    }
}
