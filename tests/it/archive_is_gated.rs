//! The archive is gated like mail: every pair of a reader and a gated word, extras for those who got them, what caches may keep.

use std::time::Duration;

use tidings::domain::settings::OnUncertain;
use tidings::domain::subscriber::{Subscriber, SubscriberStatus};
use tidings::runtime::Timestamp;
use tidings::store::{Store, editions};
use tidings::web::Limits;

use crate::support::clock::TUESDAY;
use crate::support::http::Answer;
use crate::support::peer::Peer;
use crate::support::public::Front;
use crate::support::receiving::example_of;
use crate::support::sending::{Sending, edition, subscriber};
use crate::support::stores::{TestStore, on_every_store};

const TIERS: [&str; 4] = ["free", "monthly", "yearly", "lifetime"];

fn article(name: &str, more: &str, body: &str) -> (String, String) {
    let front =
        format!("title = \"Title of {name}\"\nsummary = \"Summary of {name}.\"\nauthor = \"Ann\"\n{more}");
    (format!("{name}.md"), format!("+++\n{front}\n+++\n\n{body}\n"))
}

/// Words for everybody, for members, and for each tier alone, before and after the cut.
fn gated(mark: &str) -> String {
    let only = |place: &str| -> String {
        TIERS
            .iter()
            .map(|tier| {
                let word = format!("zq{mark}{place}{tier}zq");
                format!(
                    "<!-- only: {tier} -->\n\n## {word}\n\n[{word}](https://{word}.example/) ![{word}](https://x.example/{word}.png)\n\n<!-- /only -->\n\nBetween.\n\n"
                )
            })
            .collect()
    };
    format!("zq{mark}startzq\n\n{}<!-- more -->\n\nzq{mark}fullzq\n\n{}", only("early"), only("late"))
}

/// The words of one article that this tier gets by mail; `None`: what a stranger gets.
fn words(mark: &str, tier: Option<&str>) -> Vec<String> {
    let own = tier.unwrap_or("free");
    let mut words = vec![format!("zq{mark}startzq"), format!("zq{mark}early{own}zq")];
    if tier.is_some_and(|tier| tier != "free") {
        words.extend([format!("zq{mark}fullzq"), format!("zq{mark}late{own}zq")]);
    }
    words
}

fn all_words(mark: &str) -> Vec<String> {
    let mut all = vec![format!("zq{mark}startzq"), format!("zq{mark}fullzq")];
    for tier in TIERS {
        all.extend([format!("zq{mark}early{tier}zq"), format!("zq{mark}late{tier}zq")]);
    }
    all
}

/// Exactly these words of all are on the page.
#[track_caller]
fn holds(who: &str, page: &Answer, mark: &str, expected: &[String]) {
    for word in all_words(mark) {
        assert_eq!(page.body.contains(&word), expected.contains(&word), "{who}: {word}\n{}", page.body);
    }
}

/// What went out: `sent` to all tiers, `special` to yearly and lifetime, `extra` to yearly; `old` is of the back catalogue.
async fn house(store: &Store) -> Front {
    let articles = [
        article("sent", "status = \"ready\"", &gated("sent")),
        article("special", "status = \"ready\"", &gated("special")),
        article("extra", "status = \"ready\"\nextra = true", &gated("extra")),
        article("old", "status = \"published\"\ndate = 2026-01-05", &gated("old")),
        article(
            "paid",
            "status = \"published\"\ntiers = [\"monthly\", \"yearly\", \"lifetime\"]",
            &gated("paid"),
        ),
        article("waiting", "status = \"ready\"", &gated("waiting")),
        article("draft", "status = \"draft\"", &gated("draft")),
    ];
    let front = Front::start_with(store, example_of("America/New_York", "", &articles), Limits::PUBLIC).await;
    for tier in TIERS {
        front.add(&format!("{tier}@readers.example"), tier).await;
    }
    let yesterday = Some(Timestamp(TUESDAY.millis() - 86_400_000));
    front
        .add_as(Subscriber { term_ends_at: yesterday, ..subscriber("lapsed@readers.example", "yearly") })
        .await;
    front
        .add_as(Subscriber {
            status: SubscriberStatus::Unsubscribed,
            ..subscriber("left@readers.example", "yearly")
        })
        .await;
    for (slug, article, tiers, extra) in [
        ("weekly", "sent", &TIERS[..], false),
        ("special", "special", &["yearly", "lifetime"][..], false),
        ("extras", "extra", &["yearly"][..], true),
    ] {
        let mut new = editions::NewEdition { articles: vec![article.into()], extra, ..edition(slug, tiers) };
        if extra {
            new.bodies[0].extra_limit = Some(10);
            new.lapsed = None;
        }
        let mut tx = store.write().await.unwrap();
        editions::queue(&mut tx, &new, TUESDAY).await.unwrap().unwrap();
        tx.commit().await.unwrap();
    }
    let peer = Peer::willing().await;
    Sending::start(store, &peer, OnUncertain::Resend).await.drain().await;
    // Came when the extra was out already.
    front.add("late@readers.example", "yearly").await;
    front
}

#[tokio::test]
async fn each_reader_gets_the_words_of_their_tier_and_no_others() {
    on_every_store(|store| async move {
        let front = house(&store).await;
        // Who reads, as which tier in the archive, and what is there for them.
        let readers: [(&str, Option<&str>, &[&str]); 8] = [
            ("", None, &["sent", "old"]),
            ("free@readers.example", None, &["sent", "old"]),
            ("lapsed@readers.example", None, &["sent", "old"]),
            ("monthly@readers.example", Some("monthly"), &["sent", "old", "paid"]),
            ("yearly@readers.example", Some("yearly"), &["sent", "special", "extra", "old", "paid"]),
            ("late@readers.example", Some("yearly"), &["sent", "special", "old", "paid"]),
            ("left@readers.example", Some("yearly"), &["sent", "special", "old", "paid"]),
            ("lifetime@readers.example", Some("lifetime"), &["sent", "special", "old", "paid"]),
        ];
        for (reader, tier, there) in readers {
            let cookie = if reader.is_empty() { String::new() } else { front.sign_in(reader).await };
            let list = front.get_as(&cookie, "/archive").await;
            let mut shown = 0;
            for name in ["sent", "special", "extra", "old", "paid", "waiting", "draft"] {
                let page = front.get_as(&cookie, &format!("/archive/{name}")).await;
                assert_eq!(
                    list.body.contains(&format!("Title of {name}")),
                    there.contains(&name),
                    "{reader}: {name}"
                );
                if there.contains(&name) {
                    assert_eq!(page.code, 200, "{reader}: {name}");
                    holds(reader, &page, name, &words(name, tier));
                    shown += 1;
                } else {
                    assert_eq!(page.code, 404, "{reader}: {name}");
                    holds(reader, &page, name, &[]);
                }
                let members = "The rest is for members";
                assert_eq!(
                    page.body.contains(members),
                    page.code == 200 && tier.is_none(),
                    "{reader}: {name}"
                );
            }
            assert_eq!(shown, there.len());
            for word in ["fullzq", "latefree", "latemonthly", "lateyearly", "latelifetime"] {
                assert!(!list.body.contains(word), "{reader}: the list holds {word}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_tier_of_this_moment_counts_not_that_of_the_session() {
    let test = TestStore::sqlite().await;
    let front = house(&test.store).await;
    let ends = Some(TUESDAY + Duration::from_secs(3600));
    front.add_as(Subscriber { term_ends_at: ends, ..subscriber("soon@readers.example", "lifetime") }).await;
    let cookie = front.sign_in("soon@readers.example").await;
    holds("in term", &front.get_as(&cookie, "/archive/sent").await, "sent", &words("sent", Some("lifetime")));
    assert!(front.get_as(&cookie, "/you").await.body.contains("Lifetime until"));
    front.clock.advance(Duration::from_secs(3600));
    holds("lapsed", &front.get_as(&cookie, "/archive/sent").await, "sent", &words("sent", None));
    let you = front.get_as(&cookie, "/you").await.body;
    assert!(you.contains("ended on 24 November 2026") && you.contains("You read as Free."), "{you}");
    // Signed in or not, the page of the account is of nobody else.
    let page = front.get("/you").await;
    assert!(page.code == 303 && page.head.contains("location: /sign-in?back=/you\r\n"), "{}", page.head);
}

#[tokio::test]
async fn no_shared_cache_keeps_a_members_page() {
    let test = TestStore::sqlite().await;
    let front = house(&test.store).await;
    let cookie = front.sign_in("yearly@readers.example").await;
    let dead = "Cookie: tidings_reader=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
    for path in ["/archive", "/archive/sent", "/plans", "/you", "/sign-out"] {
        for method in ["GET", "HEAD"] {
            let page = front.ask(method, path, &cookie, "").await;
            assert!(page.head.contains("cache-control: private, no-store\r\n"), "{path}: {}", page.head);
            assert!(
                !page.head.contains("etag:") && page.head.contains("x-robots-tag: noindex"),
                "{}",
                page.head
            );
        }
    }
    for path in ["/archive", "/archive/sent", "/plans", "/feed.xml"] {
        let page = front.get(path).await;
        assert!(page.head.contains("cache-control: public, max-age="), "{path}: {}", page.head);
        assert!(page.head.contains("vary: Cookie\r\n") && !page.head.contains("set-cookie"), "{}", page.head);
        let mark = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
        for known in [mark.clone(), format!("W/{mark}"), format!("\"other\", {mark}")] {
            let again = front.ask("GET", path, &format!("If-None-Match: {known}\r\n"), "").await;
            assert!(again.code == 304 && again.body.is_empty(), "{path}: {} {}", again.code, again.body);
        }
        assert_eq!(front.ask("GET", path, "If-None-Match: \"other\"\r\n", "").await.code, 200);
        let head = front.ask("HEAD", path, "", "").await;
        assert!(head.code == 200 && head.body.is_empty() && head.head.contains(&mark), "{}", head.head);
        // A mark of the public page does not turn a member's page into it.
        if path != "/feed.xml" {
            let member = front.ask("GET", path, &format!("{cookie}If-None-Match: {mark}\r\n"), "").await;
            assert_eq!(member.code, 200, "{path}");
            assert!(front.get_as(dead, path).await.head.contains("private, no-store"), "{path}");
        }
    }
}

#[tokio::test]
async fn the_feed_holds_starts_only_whoever_asks() {
    let test = TestStore::sqlite().await;
    let front = house(&test.store).await;
    let cookie = front.sign_in("yearly@readers.example").await;
    for asked in [front.get("/feed.xml").await, front.get_as(&cookie, "/feed.xml").await] {
        assert!(asked.code == 200 && asked.head.contains("application/atom+xml"), "{}", asked.head);
        for name in ["sent", "old"] {
            holds("the feed", &asked, name, &words(name, None));
            assert!(asked.body.contains(&format!("<id>https://news.example.org/archive/{name}</id>")));
        }
        for name in ["special", "extra", "paid", "waiting", "draft"] {
            holds("the feed", &asked, name, &[]);
            assert!(!asked.body.contains(&format!("Title of {name}")), "{name}");
        }
        assert!(asked.body.contains("<updated>2026-11-24T05:00:00Z</updated>"), "{}", asked.body);
    }
}

#[tokio::test]
async fn the_end_of_a_start_shows_plans_offer_and_the_way_in() {
    let test = TestStore::sqlite().await;
    let front = house(&test.store).await;
    let page = front.get("/archive/sent").await.body;
    for wanted in [
        "1 of 1 minutes is left.",
        "$60 a year",
        "your money back within 10 days",
        "50 % off monthly and yearly until 31 December 2026.",
        "href=\"/sign-in?back=/archive/sent\"",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
    let cookie = front.sign_in("free@readers.example").await;
    let page = front.get_as(&cookie, "/archive/sent").await.body;
    assert!(page.contains("The rest is for members") && !page.contains("/sign-in?back"), "{page}");
    let yearly = front.sign_in("yearly@readers.example").await;
    let page = front.get_as(&yearly, "/archive/sent").await.body;
    assert!(page.contains("Just reply: a person answers.") && page.contains("href=\"/you\""), "{page}");
    assert!(front.get_as(&yearly, "/archive").await.body.contains("<span class=\"tag\">Extra</span>"));
    assert!(front.get_as(&yearly, "/plans").await.body.contains("Yours"));
    front.clock.advance(Duration::from_secs(60 * 86_400));
    assert!(!front.get("/archive/sent").await.body.contains("50 % off"), "the offer is over");
}
