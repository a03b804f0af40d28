//! The mails for one person: each says who, what and until when, carries its link whole, and has no holes.
//!
//! With `TIDINGS_WRITE_MAILS=DIR` their HTML is written there, to be looked at.

use tidings::domain::body::{Body, Piece};
use tidings::domain::publication::TierId;
use tidings::render::{
    AnswerInput, ConfirmInput, NoticeInput, NoticePost, NoticeThread, ReportEvent, ReportInput, ReportTier,
    SignInInput, SupportAckInput, WelcomeInput, render_answer, render_confirm, render_notice, render_report,
    render_sign_in, render_support_ack, render_welcome,
};

use crate::render_support::{filled, publication, shipped};

const SUPPORT: &str = "support@news.example.org";
const LINK: &str = "https://news.example.org/x/c7qd2mxw?a=1&b=2";

/// Subject, HTML and text; nothing of them is a hole, and no third party is asked for anything.
#[track_caller]
fn whole(name: &str, body: &Body) -> [String; 3] {
    for part in [&body.subject, &body.html, &body.text] {
        assert!(part.iter().all(|piece| matches!(piece, Piece::Literal(_))), "{name} has no holes");
    }
    let all = filled(body);
    assert!(!all[1].contains("googleapis") && !all[1].contains("<mj-") && !all[1].contains("{{"), "{name}");
    let short = |line: &str| line.chars().count() <= 72 || line.contains("https://");
    assert!(all[2].lines().all(short), "{name}: {}", all[2]);
    assert!(!all[2].contains("\n\n\n"), "{name} has holes in its text:\n{}", all[2]);
    if let Some(folder) = std::env::var_os("TIDINGS_WRITE_MAILS") {
        let folder = std::path::Path::new(&folder);
        std::fs::write(folder.join(format!("{name}.html")), &all[1]).unwrap();
        std::fs::write(folder.join(format!("{name}.txt")), format!("Subject: {}\n\n{}", all[0], all[2]))
            .unwrap();
    }
    all
}

#[test]
fn w54_a_confirmation_says_who_asked_and_has_its_link_twice() {
    let publication = publication();
    let input = ConfirmInput {
        publication: &publication,
        support: SUPPORT,
        address: "jonas@reader.example",
        asked_at: "24 November at 14:05",
        asked_where: "on our website",
        gets: "one mail on Tuesdays, with the start of each article",
        expires: "1 December",
        confirm: LINK,
    };
    let [subject, html, text] = whole("confirm", &render_confirm(&shipped(), &input).unwrap());
    assert!(subject.starts_with("Is this your address?"));
    assert_eq!(html.matches("href=\"https://news.example.org/x/c7qd2mxw?a=1&amp;b=2\"").count(), 2, "{html}");
    assert!(
        html.contains("on our website on 24 November at 14:05") && html.contains("deleted on 1 December")
    );
    assert!(text.contains(LINK) && text.contains("Example Street 1") && html.contains("Example Street 1"));
    let bare = ConfirmInput { asked_at: "", asked_where: "", gets: "", expires: "", ..input };
    let [_, html, text] = whole("confirm-bare", &render_confirm(&shipped(), &bare).unwrap());
    assert!(
        html.contains("we hope you, asked to get Example News at <strong>jonas@reader.example</strong>."),
        "{html}"
    );
    assert!(text.contains("no mail from us.\n"), "{text}");
    for confirm in ["", "#", "javascript:alert(1)"] {
        let problems = render_confirm(&shipped(), &ConfirmInput { confirm, ..input }).unwrap_err();
        assert_eq!(problems[0].key, "link", "a confirmation without a link is of no use: {problems:#?}");
    }
}

#[test]
fn a_sign_in_link_works_once_and_says_for_how_long() {
    let publication = publication();
    let input = SignInInput {
        publication: &publication,
        support: SUPPORT,
        address: "jonas@reader.example",
        until: "14:20",
        minutes: 15,
        sign_in: LINK,
    };
    let [subject, html, text] = whole("sign-in", &render_sign_in(&shipped(), &input).unwrap());
    assert_eq!(subject, "Sign in to Example News");
    assert!(html.contains("works once, for 15 minutes: until 14:20.") && text.contains(LINK));
    assert!(render_sign_in(&shipped(), &SignInInput { sign_in: "", ..input }).is_err());
}

#[test]
fn a_welcome_fits_the_tier() {
    let publication = publication();
    let tier = |id: &str| publication.tier(&TierId::from(id)).unwrap();
    let input = WelcomeInput {
        publication: &publication,
        support: SUPPORT,
        name: "Jonas & <b>",
        address: "jonas@reader.example",
        tier: tier("yearly"),
        term_ends: "3 March 2027",
        next: "Tuesday 1 December, 09:00",
        unsubscribe: LINK,
        preferences: "https://news.example.org/p/x",
        archive: "https://news.example.org/archive",
    };
    let [_, html, text] = whole("welcome", &render_welcome(&shipped(), &input).unwrap());
    assert!(html.contains("Welcome, Jonas &amp; &lt;b&gt;"), "{html}");
    assert!(
        html.contains("until 3 March 2027") && html.contains("Just reply") && html.contains("within 10 days")
    );
    assert!(
        text.contains(&format!("Unsubscribe: {LINK}")) && text.contains("https://news.example.org/archive")
    );
    let free =
        WelcomeInput { tier: tier("free"), term_ends: "", next: "", preferences: "", name: "", ..input };
    let [_, html, text] = whole("welcome-free", &render_welcome(&shipped(), &free).unwrap());
    for words in ["Just reply", "archive", "days", "Preferences", "The next mail", ", until"] {
        assert!(!html.contains(words) && !text.contains(words), "{words}: {text}");
    }
}

#[test]
fn an_acknowledgement_promises_nothing_that_is_not_promised() {
    let publication = publication();
    let tier = |id: &str| publication.tier(&TierId::from(id)).unwrap();
    let input = SupportAckInput {
        publication: &publication,
        support: SUPPORT,
        desk: "Example News Support",
        subject: "Re: invoice",
        name: "Jonas",
        tier: tier("monthly"),
        promise: "",
    };
    let [subject, html, text] = whole("support-ack", &render_support_ack(&shipped(), &input).unwrap());
    assert_eq!(subject, "Re: invoice");
    assert!(html.contains("a person will read it") && !text.contains("day"), "{text}");
    let promised = SupportAckInput { promise: "We answer within two working days.", ..input };
    let [_, html, _] = whole("support-ack-promise", &render_support_ack(&shipped(), &promised).unwrap());
    assert!(html.contains("answer you. We answer within two working days."), "{html}");
    let free = SupportAckInput { tier: tier("free"), ..promised };
    let [_, html, text] = whole("support-ack-free", &render_support_ack(&shipped(), &free).unwrap());
    assert!(
        html.contains("please do not wait for one")
            && !html.contains("working days")
            && !html.contains("will read")
    );
    assert!(text.contains("The plans: https://news.example.org/plans"), "{text}");
}

#[test]
fn an_answer_looks_typed_and_carries_only_what_was_typed() {
    let publication = publication();
    let text = "Hi Jonas,\n\nyes, the script works for convolutions too. Fold the kernel first:\n\n\
                ```\nflat = w.reshape(w.shape[0], -1)\n  steps, scale = quantise(flat)\n```\n\n\
                - depthwise layers: stay at 16 bits\n- the rest: see https://news.example.org/archive/rounding.\n\n\
                {{desk.name}} <script>alert(1)</script> *not bold* # no heading\n\nMira";
    let input = AnswerInput {
        publication: &publication,
        support: SUPPORT,
        desk: "Example News Support",
        subject: "Does it work?",
        text,
    };
    let [subject, html, plain] = {
        let body = render_answer(&shipped(), &input).unwrap();
        assert!(body.html.iter().all(|piece| matches!(piece, Piece::Literal(_))));
        filled(&body)
    };
    if let Some(folder) = std::env::var_os("TIDINGS_WRITE_MAILS") {
        std::fs::write(std::path::Path::new(&folder).join("support-answer.html"), &html).unwrap();
    }
    assert_eq!(subject, "Re: Does it work?");
    assert!(plain.starts_with(text) && plain.contains("stays in the same\nconversation."), "{plain}");
    assert!(
        html.contains("{{desk.name}} &lt;script&gt;") && html.contains("*not bold* # no heading"),
        "{html}"
    );
    assert!(html.contains("&nbsp;&nbsp;steps, scale") && html.contains("<ul") && !html.contains("```"));
    assert!(
        html.contains("href=\"https://news.example.org/archive/rounding\"") && !html.contains("mj-column")
    );
    assert!(
        !html.contains("https://news.example.org/plans") && !html.contains("Example Street"),
        "no branding"
    );
    // Longer than any lint would let an edition be: a person's words are never refused.
    let long = "words ".repeat(40_000);
    assert!(render_answer(&shipped(), &AnswerInput { text: &long, ..input }).is_ok());
    let subject = "s".repeat(400);
    assert!(render_answer(&shipped(), &AnswerInput { subject: &subject, ..input }).is_ok());
}

fn tier(label: &str, audience: u64, accepted: u64, refused: u64, skipped: u64) -> ReportTier {
    ReportTier { label: label.into(), audience, accepted, refused, skipped, ..ReportTier::default() }
}

#[test]
fn a_report_shows_what_happened_and_no_empty_columns() {
    let publication = publication();
    let tiers = [
        tier("Free", 9410, 9394, 15, 1),
        tier("Monthly", 1268, 1265, 2, 1),
        tier("Yearly", 1102, 1100, 2, 0),
        tier("Lifetime", 272, 272, 0, 0),
    ];
    let notes: Vec<String> =
        (1..=7).map(|n| format!("{n} refused: unknown mailboxes, suppressed.")).collect();
    let input = ReportInput {
        publication: &publication,
        support: SUPPORT,
        event: ReportEvent::FirstPassDone,
        slug: "weekly-2026-11-24",
        subject: "Make the model smaller before you make the server bigger",
        slot: "weekly",
        due_at: "",
        queued_at: "at 09:00:04",
        settled_at: "at 09:31:40 New York time",
        tiers: &tiers,
        reason: "",
        action: "",
        notes: &notes,
        board: "https://board.example.org/editions/weekly-2026-11-24",
        next: "Next: Tuesday 1 December, 09:00 New York time, 2 articles ready.",
    };
    let [subject, html, text] = whole("editor-report", &render_report(&shipped(), &input).unwrap());
    assert_eq!(subject, "Out: weekly-2026-11-24, 12,031 of 12,052 accepted");
    assert!(html.contains(
        "<strong>12,031 of 12,052 accepted</strong>, 19 refused, 2 skipped. Nothing is left in the queue."
    ));
    assert_eq!(html.matches("unknown mailboxes").count(), 5);
    assert!(html.contains("And 2 more") && !html.contains("Uncertain") && !html.contains("Parked"));
    assert!(text.contains("Tier      Audience  Accepted  Refused  Skipped\n"), "{text}");
    assert!(text.contains("All         12,052    12,031       19        2"), "{text}");

    let mut doubtful = tiers.clone();
    doubtful[0].uncertain = 3;
    doubtful[1].queued = 72;
    let input = ReportInput { tiers: &doubtful, ..input };
    let [_, html, text] = whole("editor-report-doubt", &render_report(&shipped(), &input).unwrap());
    assert!(
        html.contains("72 are tried again later.")
            && html.contains(">Uncertain<")
            && !html.contains("Parked")
    );
    assert!(text.contains("Skipped  Uncertain\n"), "{text}");
}

#[test]
fn bad_news_goes_into_the_subject() {
    let publication = publication();
    let mut tiers = [tier("Free", 9410, 0, 0, 0), tier("Yearly", 1102, 0, 0, 0)];
    tiers[0].proof = "https://board.example.org/proof/free".into();
    let input = ReportInput {
        publication: &publication,
        support: SUPPORT,
        event: ReportEvent::Queued,
        slug: "weekly-2026-12-01",
        subject: "Train where the data lives",
        slot: "weekly",
        due_at: "Tuesday 1 December, 09:00 New York time",
        queued_at: "",
        settled_at: "",
        tiers: &tiers,
        reason: "",
        action: "To stop it: tidings editions hold weekly-2026-12-01",
        notes: &[],
        board: "",
        next: "",
    };
    let [subject, html, text] = whole("editor-report-queued", &render_report(&shipped(), &input).unwrap());
    assert_eq!(subject, "Queued: Train where the data lives, 10,512 people");
    assert!(
        html.contains("https://board.example.org/proof/free")
            && !html.contains("Refused")
            && !html.contains("board\"")
    );
    assert!(
        text.contains("The mail of Free: https://board.example.org/proof/free\n")
            && !text.contains("The mail of Yearly")
    );
    for (event, subject) in [
        (ReportEvent::Skipped, "Skipped: weekly-2026-12-01, 0 articles are ready, 1 is wanted"),
        (ReportEvent::Missed, "Missed: weekly-2026-12-01, 0 articles are ready, 1 is wanted"),
        (ReportEvent::Blocked, "Blocked: weekly-2026-12-01, 0 articles are ready, 1 is wanted"),
        (ReportEvent::Paused, "Paused: weekly-2026-12-01, 0 articles are ready, 1 is wanted"),
    ] {
        let input = ReportInput { event, reason: "0 articles are ready, 1 is wanted", tiers: &[], ..input };
        let [found, html, _] = whole(event.as_str(), &render_report(&shipped(), &input).unwrap());
        assert_eq!(found, subject);
        assert!(!html.contains("<table class=\"ink\""), "{event:?} without tiers has no table");
    }
}

#[test]
fn a_notice_takes_whatever_a_subscriber_writes() {
    let publication = publication();
    let thread = NoticeThread {
        number: 142,
        subject: "Does the script work for convolutions?".into(),
        state: "open".into(),
        tier_label: "Yearly".into(),
        term_ends: "3 March 2027".into(),
        subscriber_name: "Jonas Brandt".into(),
        subscriber_address: "jonas@reader.example".into(),
        waiting_since: "Tuesday 24 November, 09:41".into(),
        ..NoticeThread::default()
    };
    let post = NoticePost {
        text: "Is it meant for linear layers only?\n\nJonas".into(),
        folded_lines: 11,
        at: "09:41".into(),
        ..NoticePost::default()
    };
    let input = NoticeInput {
        publication: &publication,
        thread: &thread,
        post: &post,
        desk: "Support",
        support: SUPPORT,
    };
    whole("support-notice", &render_notice(&shipped(), &input).unwrap());
    let thread = NoticeThread { subject: "s".repeat(400), ..thread.clone() };
    let post = NoticePost { text: "words ".repeat(40_000), ..post.clone() };
    assert!(render_notice(&shipped(), &NoticeInput { thread: &thread, post: &post, ..input }).is_ok());
}
