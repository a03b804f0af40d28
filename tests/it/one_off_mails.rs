//! The mails for one person: each says who, what and until when, carries its link whole, and has no holes.
//!
//! With `TIDINGS_WRITE_MAILS=DIR` their HTML is written there, to be looked at.

use tidings::domain::body::{Body, Piece};
use tidings::domain::publication::TierId;
use tidings::render::{
    AlarmInput, AnswerInput, ConfirmInput, NoticeInput, NoticePost, NoticeThread, ReportEvent, ReportInput,
    ReportTier, SignInInput, SupportAckInput, WelcomeInput, render_alarm, render_answer, render_confirm,
    render_notice, render_report, render_sign_in, render_support_ack, render_welcome,
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
    assert!(text.contains("Asked: on our website on 24 November at 14:05\n"), "{text}");
    assert!(text.contains(LINK) && text.contains("Example Street 1") && html.contains("Example Street 1"));
    let bare = ConfirmInput { asked_at: "", asked_where: "", gets: "", expires: "", ..input };
    let [_, html, text] = whole("confirm-bare", &render_confirm(&shipped(), &bare).unwrap());
    assert!(
        html.contains("we hope you, asked to get Example News at <strong>jonas@reader.example</strong>."),
        "{html}"
    );
    assert!(text.contains("no mail from us.\n"), "{text}");
    assert!(!text.contains("Asked:") && !text.contains("What it gets:"), "{text}");
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
    assert!(html.contains("09:00. Until then, all earlier articles are yours"), "{html}");
    assert!(text.contains("Plan: Yearly, until 3 March 2027\n"), "{text}");
    let undated = WelcomeInput { next: "", ..input };
    let [_, html, _] = whole("welcome-undated", &render_welcome(&shipped(), &undated).unwrap());
    assert!(html.contains(">All earlier articles are yours") && !html.contains("Until then"), "{html}");
    let monthly = WelcomeInput { tier: tier("monthly"), term_ends: "24 December", ..input };
    let [_, html, _] = whole("welcome-monthly", &render_welcome(&shipped(), &monthly).unwrap());
    assert!(!html.contains("days") && !html.contains("the start of each article"), "{html}");
    let free =
        WelcomeInput { tier: tier("free"), term_ends: "", next: "", preferences: "", name: "", ..input };
    let [_, html, text] = whole("welcome-free", &render_welcome(&shipped(), &free).unwrap());
    for part in [&html, &text] {
        assert!(part.contains("You get the start of each article."), "{part}");
    }
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
    assert!(
        html.contains(">Your mail has arrived, and a person will read it") && !text.contains("day"),
        "{text}"
    );
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
        std::fs::write(std::path::Path::new(&folder).join("support-answer.txt"), &plain).unwrap();
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

    let mut returned = tiers.clone();
    (returned[0].came_back, returned[1].complaints) = (12, 1);
    let input = ReportInput { tiers: &returned, ..input };
    let [_, html, text] = whole("editor-report-returned", &render_report(&shipped(), &input).unwrap());
    assert_eq!(html.matches(">12 came back<").count(), 2, "{html}");
    assert_eq!(html.matches(">1 complained<").count(), 2);
    assert!(text.contains("Came back  Complaints\n"), "{text}");

    let mut doubtful = tiers.clone();
    doubtful[0].uncertain = 3;
    // A fifth number does not fit beside the others on a phone: words would be broken.
    doubtful[1].queued = 72;
    let input = ReportInput { tiers: &doubtful, ..input };
    let [_, html, text] = whole("editor-report-doubt", &render_report(&shipped(), &input).unwrap());
    assert_eq!(html.matches("<th scope=\"col\"").count(), 5, "{html}");
    assert!(
        html.contains("72 are tried again later.")
            && html.matches(">3 uncertain<").count() == 2
            && !html.contains("parked")
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
        action: "To stop it, answer this mail with `hold` in the first line, or run `tidings editions hold \
                 weekly-2026-12-01`.",
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
    for (event, name, reason, action) in [
        (ReportEvent::Skipped, "Skipped", "0 articles are ready, 1 is wanted", "Lower the slot's `take`."),
        (ReportEvent::Missed, "Missed", "nobody approved it in time", "Send it as a one-off edition."),
        (
            ReportEvent::Blocked,
            "Blocked",
            "1 problem in the files",
            "Mend them; `tidings check` names them all.",
        ),
    ] {
        let wrong =
            ["articles/a.md:3:1: title: it is missing, write `title = \"...\"` between the `+++` lines"
                .to_owned()];
        let notes = if event == ReportEvent::Blocked { &wrong[..] } else { &[] };
        let input = ReportInput { event, reason, action, notes, tiers: &[], ..input };
        let [found, html, text] = whole(event.as_str(), &render_report(&shipped(), &input).unwrap());
        assert_eq!(found, format!("{name}: weekly-2026-12-01, {reason}"));
        assert!(!html.contains("<table class=\"ink\""), "{event:?} without tiers has no table");
        assert!(
            html.contains(&format!("</strong>: {reason}.")) && text.contains(&format!(":\n{reason}\n")),
            "{text}"
        );
    }
    let mut tiers = tiers.clone();
    tiers[0] = ReportTier { accepted: 4100, refused: 215, ..tiers[0].clone() };
    let paused = ReportInput { event: ReportEvent::Paused, reason: "5 % refused", tiers: &tiers, ..input };
    let [subject, html, _] = whole("paused", &render_report(&shipped(), &paused).unwrap());
    assert_eq!(subject, "Paused: weekly-2026-12-01, 5 % refused");
    assert!(html.contains("4,100 of 10,512 accepted</strong>, the rest waits: 5 % refused."), "{html}");
}

#[test]
fn a_report_that_waits_for_approval_says_so_first_and_shows_commands_as_code() {
    let publication = publication();
    let tiers = [tier("Yearly", 1, 0, 0, 0)];
    let action = "Answer this mail with `approve` in the first line, or run `tidings editions approve weekly-2026-12-01`. \
                  Nothing leaves before that, and without it the edition is missed on Wednesday 2 December, 09:00 EST.";
    let note =
        "articles/a.md:3:1: `title` <b> is missing, and a lone ` stays, however long the line is".to_owned();
    let notes = [note];
    let input = ReportInput {
        publication: &publication,
        support: SUPPORT,
        event: ReportEvent::WaitingApproval,
        slug: "weekly-2026-12-01",
        subject: "Train where the data lives",
        slot: "weekly",
        due_at: "Tuesday 1 December, 09:00 EST",
        queued_at: "Tuesday 1 December, 08:00 EST",
        settled_at: "",
        tiers: &tiers,
        reason: "",
        action,
        notes: &notes,
        board: "",
        next: "",
    };
    let [subject, html, text] = whole("waiting_approval", &render_report(&shipped(), &input).unwrap());
    assert_eq!(subject, "Approve: Train where the data lives, 1 person");
    assert!(html.contains("<strong>Nothing leaves before you approve it.</strong>"), "{html}");
    assert!(
        text.contains("The weekly waits for you\n") && text.contains("`approve` in the first line"),
        "{text}"
    );
    assert!(html.contains("monospace;font-size:15px\">approve</span> in the first line"), "{html}");
    assert!(
        html.contains("approve <span style=\"white-space:nowrap\">weekly-2026-12-01</span></span>."),
        "a slug breaks nowhere: {html}"
    );
    assert!(html.contains(">title</span> &lt;b&gt; is missing, and a lone ` stays, however"), "{html}");
    assert!(text.contains("\n- articles/a.md:3:1: ") && text.contains("\n  long the line is\n"), "{text}");

    let reason = "your answer was not understood; its first line must be `approve` or `hold`";
    let answered =
        ReportInput { event: ReportEvent::Answered, reason, action: "", notes: &[], due_at: "", ..input };
    let [subject, html, text] = whole("answered", &render_report(&shipped(), &answered).unwrap());
    assert_eq!(subject, "Answer about weekly-2026-12-01", "a long story is no subject");
    let (_, shown) = html.split_once("<h1").unwrap();
    assert!(html.contains("What came of it:</strong> your answer") && !shown.contains('`'), "{html}");
    assert!(
        !html.contains("<table class=\"ink\"") && !text.contains("Audience"),
        "who gets what is not asked"
    );
    let nothing = ReportInput { slug: "", subject: "", slot: "", queued_at: "", tiers: &[], ..answered };
    let [subject, _, text] = whole("answered-nothing", &render_report(&shipped(), &nothing).unwrap());
    assert!(subject == "Answer" && text.contains("\nAn answer\n"), "{text}");
    let held = ReportInput { reason: "held by ed@example.org", ..answered };
    let [subject, _, _] = whole("answered-held", &render_report(&shipped(), &held).unwrap());
    assert_eq!(subject, "Answer about weekly-2026-12-01, held by ed@example.org");
}

#[test]
fn an_alarm_says_what_when_how_often_and_what_to_do() {
    let publication = publication();
    let input = AlarmInput {
        publication: &publication,
        support: SUPPORT,
        title: "The relay refuses us",
        about: "main",
        text: "550 5.7.1 <w***@news.example.org> not from here & \"nowhere\" else",
        action: "Nothing is lost: recipients stay queued.",
        since: "Tuesday 24 November, 09:00 EST",
        last: "Tuesday 24 November, 14:12 EST",
        count: 256,
    };
    let [subject, html, text] = whole("alarm", &render_alarm(&shipped(), &input).unwrap());
    assert_eq!(subject, "Alarm: The relay refuses us (main)");
    assert!(html.contains(
        "First Tuesday 24 November, 09:00 EST, last Tuesday 24 November, 14:12 EST, at least 256 times."
    ));
    assert!(
        html.contains("&lt;w***@news.example.org&gt; not from here &amp;")
            && html.contains("Nothing is lost")
    );
    assert!(text.contains(
        "First Tuesday 24 November, 09:00 EST\nLast Tuesday 24 November, 14:12 EST\nAt least 256 times"
    ));
    let once = AlarmInput { about: "", count: 1, ..input };
    let [subject, html, text] = whole("alarm-once", &render_alarm(&shipped(), &once).unwrap());
    assert_eq!(subject, "Alarm: The relay refuses us");
    assert!(!html.contains("times") && !text.contains("14:12") && text.contains("09:00 EST"), "{text}");
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
        note_address: "support+note@news.example.org",
    };
    whole("support-notice", &render_notice(&shipped(), &input).unwrap());
    let thread = NoticeThread { subject: "s".repeat(400), ..thread.clone() };
    let post = NoticePost { text: "words ".repeat(40_000), ..post.clone() };
    assert!(render_notice(&shipped(), &NoticeInput { thread: &thread, post: &post, ..input }).is_ok());
}
