//! Files of other systems: what is made of each, that nobody is raised by them, and that nothing is lost on a way through us.

use std::collections::BTreeMap;

use tidings::domain::publication::{ImportRules, TierId};
use tidings::domain::subscriber::ImportRow;
use tidings::domain::suppression::SuppressionReason;
use tidings::import::{self, Encoding, Format, HeaderProblem, Skipped, Wishes};
use tidings::store::{Store, people, suppressions};
use tidings::tasks::export::export;
use tidings::tasks::people::{ImportOptions, ImportReport, import as import_rows};

use crate::support::clock::TUESDAY;
use crate::support::receiving::keyring;
use crate::support::stores::{TestStore, on_every_store};

const FILES: &[(&str, &[u8], Format)] = &[
    ("ghost", include_bytes!("../fixtures/import/ghost.csv"), Format::Ghost),
    ("ghost, old", include_bytes!("../fixtures/import/ghost_old.csv"), Format::Ghost),
    ("listmonk", include_bytes!("../fixtures/import/listmonk.csv"), Format::Listmonk),
    ("subscribed", include_bytes!("../fixtures/import/mailchimp_subscribed.csv"), Format::Mailchimp),
    ("unsubscribed", include_bytes!("../fixtures/import/mailchimp_unsubscribed.csv"), Format::Mailchimp),
    ("cleaned", include_bytes!("../fixtures/import/mailchimp_cleaned.csv"), Format::Mailchimp),
    ("list", include_bytes!("../fixtures/import/substack_list.csv"), Format::Substack),
    ("paid", include_bytes!("../fixtures/import/substack_paid.csv"), Format::Substack),
    ("keila", include_bytes!("../fixtures/import/keila.csv"), Format::Keila),
    ("buttondown", include_bytes!("../fixtures/import/buttondown.csv"), Format::Buttondown),
];

const T8: &str = "\u{feff}id;Email marketing;E-Mail;Status;Notes\r\n7;yes;Ann@Ex.org ;unactivated;\"a;b\r\nc\"\r\n\
    8;no;bob@m\u{fc}ller.example;inactive;\r\n9;;ann@ex.org;active;=1+1\r\n";

fn tiers() -> Vec<TierId> {
    ["free", "monthly", "yearly", "lifetime"].into_iter().map(TierId::from).collect()
}

fn rules() -> ImportRules {
    let plans = [
        ("gold", "yearly"),
        ("Silver", "monthly"),
        ("Silver, Ltd", "monthly"),
        ("complimentary", "yearly"),
        ("paid", "monthly"),
        ("comp", "lifetime"),
        ("ios_app", "monthly"),
        ("premium", "monthly"),
        ("gifted", "yearly"),
    ];
    ImportRules {
        default: Some("free".into()),
        plans: plans.iter().map(|(plan, tier)| ((*plan).to_owned(), (*tier).into())).collect(),
    }
}

fn open_with(
    bytes: &[u8],
    format: Option<Format>,
    encoding: Option<Encoding>,
) -> Result<(Format, Vec<Result<ImportRow, Skipped>>), HeaderProblem> {
    let (tiers, rules) = (tiers(), rules());
    let rows = import::open(bytes, &Wishes { format, encoding, tiers: &tiers, rules: &rules })?;
    let format = rows.format();
    Ok((format, rows.map(|row| row.unwrap()).collect()))
}

fn read(bytes: &[u8]) -> (Format, Vec<Result<ImportRow, Skipped>>) {
    open_with(bytes, None, None).unwrap()
}

/// `line address "name" tier status`, then what else is there.
fn told(bytes: &[u8]) -> Vec<String> {
    let tell = |row: Result<ImportRow, Skipped>| match row {
        Ok(row) => {
            let keeps = if row.keeps_tier { "?" } else { "" };
            let mut line =
                format!("{} {} {:?} {}{keeps} {}", row.line, row.address, row.name, row.tier, row.status);
            if let Some(ends) = row.term_ends_at {
                line += &format!(" until {ends}");
            }
            if let Some(found) = &row.suppression {
                line += &format!(" {} {}", found.reason, found.at.map_or("?".into(), |at| at.rfc3339()));
            }
            for one in &row.history {
                line += &format!(" [{}: {}]", one.at, one.text);
            }
            if !row.note.is_empty() {
                line += &format!(" note {:?}", row.note);
            }
            row.unclear.iter().for_each(|why| line += &format!(" UNCLEAR {why}"));
            line
        }
        Err(skipped) => format!("{} {}! {}", skipped.line, skipped.address, skipped.reason),
    };
    read(bytes).1.into_iter().map(tell).collect()
}

fn bytes_of(name: &str) -> &'static [u8] {
    FILES.iter().find(|(known, ..)| *known == name).unwrap().1
}

async fn take(store: &Store, bytes: &[u8]) -> ImportReport {
    let (format, rows) = read(bytes);
    let options = ImportOptions {
        consent_source: Some("old system"),
        dry_run: false,
        now: TUESDAY,
        keyring: &keyring(),
        terms: &Default::default(),
    };
    let mut report = import_rows(store, rows.into_iter(), options, |_| {}).await.unwrap();
    report.format = format.as_str();
    report
}

async fn exported(store: &Store) -> String {
    let mut out = Vec::new();
    export(store, &mut out, |_| {}).await.unwrap();
    String::from_utf8(out).unwrap()
}

/// Per address: all columns but the consent, and the lines of the consent.
fn cells(csv: &str) -> BTreeMap<String, (Vec<String>, Vec<serde_json::Value>)> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let rows = reader.records().map(|record| {
        let mut cells: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
        let consent: Vec<serde_json::Value> = serde_json::from_str(&cells.pop().unwrap()).unwrap();
        (cells[0].clone(), (cells, consent))
    });
    rows.collect()
}

#[test]
fn headers_say_which_system_wrote_them() {
    for (name, bytes, format) in FILES {
        assert_eq!(read(bytes).0, *format, "{name}");
    }
    let problem = |header: &str| open_with(header.as_bytes(), None, None).unwrap_err().to_string();
    assert_eq!(
        problem("email,name,tier,status,attributes\n"),
        "the header fits tidings and listmonk; say which one with --format"
    );
    let chosen = open_with(b"email,name,tier,status,attributes\n", Some(Format::Listmonk), None).unwrap();
    assert_eq!(chosen.0, Format::Listmonk);
    assert!(problem("email,tier\n").starts_with("the header lacks name, status"));
    assert!(problem("email,e-mail\n").starts_with("the header lacks name, tier, status"));
    let wrong = open_with(b"email,name,tier,status\n", Some(Format::Ghost), None).unwrap_err().to_string();
    assert!(wrong.starts_with("the header lacks subscribed_to_emails; it names email"), "{wrong}");
    let none = ImportRules::default();
    let tiers = tiers();
    let wishes = Wishes { format: None, encoding: None, tiers: &tiers, rules: &none };
    let refused = import::open(bytes_of("keila"), &wishes).err().unwrap().to_string();
    assert!(refused.contains("`default` under [import]"), "{refused}");
}

#[test]
fn ghost() {
    let unheard = "the plan `Gold`, `Unheard Of` is not named in [import.plans]: who is new is free without a term, who \
        is known keeps their tier";
    let gift = "the plan `gift` is not named in [import.plans]: who is new is free without a term, who is known keeps \
        their tier; its status may mean several things; it was taken as pending";
    let expected = [
        "2 Ann@x.example \"Ann Lee\" yearly active [2023-03-24T10:23:10Z: ghost: member since] note \"met at a \
         fair\\nasked for \\\"print\\\"\""
            .to_owned(),
        "4 bob@x.example \"\" free unsubscribed unsubscribed ? [2022-01-02T03:04:05Z: ghost: member since]".into(),
        "5 cy@x.example \"=Cy\" yearly active [2024-05-06T00:00:00Z: ghost: member since]".into(),
        format!("6 dee@x.example \"Dee\" free? active [2099-01-01T00:00:00Z: ghost: member since] UNCLEAR {unheard}"),
        "7 eve@x.example! it was deleted in Ghost".into(),
        "8 flo@x.example \"Flo\" monthly active [2023-01-01T00:00:00Z: ghost: member since]".into(),
        format!("9 gus@x.example \"Gus\" free? pending [2023-01-01T00:00:00Z: ghost: member since] UNCLEAR {gift}"),
        "10 not an address! not an address: it has no @".into(),
    ];
    assert_eq!(told(bytes_of("ghost")), expected);
    let old = [
        "2 ann@x.example \"Ann\" yearly active until 2027-03-24T00:00:00Z [2021-03-24T10:23:10Z: ghost: member since]",
        "3 bob@x.example \"Bob\" free active [2021-03-24T10:23:10Z: ghost: member since]",
    ];
    assert_eq!(told(bytes_of("ghost, old")), old);
}

#[test]
fn listmonk() {
    let expected = [
        "2 ANN@x.example \"Ann Lee\" free? active [2024-01-02T15:04:05.123Z: listmonk: created]",
        "3 bob@x.example \"\" free? unsubscribed manual 2024-02-02T15:04:05.500Z [2024-01-02T15:04:05.123Z: listmonk: \
         created]",
        "4 cy@x.example \"Cy\" free? unsubscribed manual 2024-03-02T15:04:05Z [2024-01-02T15:04:05Z: listmonk: created]",
        "5 dee@x.example! `sleeping` is not a status",
        "6 eve@x.example \"Eve\" free? active UNCLEAR listmonk: created: `some day` is not a time, left out",
    ];
    assert_eq!(told(bytes_of("listmonk")), expected);
}

#[test]
fn mailchimp() {
    let subscribed = [
        "2 ann@x.example \"Ann Lee\" yearly active [2021-05-06T07:08:09Z: mailchimp: opted in from 192.0.2.7] \
         [2021-05-06T07:10:00Z: mailchimp: confirmed from 192.0.2.7]",
        "3 bob@x.example \"Bob\" free? active [2021-05-07T07:10:00Z: mailchimp: confirmed from 192.0.2.8] note \"a \
         note\\nin two lines\"",
        "5 cy@x.example \"\" free? pending UNCLEAR it has neither opted in nor confirmed; it was taken as pending",
        "6 dee@x.example \"Dee\" free? active [2021-05-06T07:08:09Z: mailchimp: opted in] [2021-05-07T07:10:00Z: \
         mailchimp: confirmed from 192.0.2.8] UNCLEAR the plan `Gold`, `Silver` is different tiers: who is new is free \
         without a term, who is known keeps their tier",
    ];
    assert_eq!(told(bytes_of("subscribed")), subscribed);
    let ann = read(bytes_of("subscribed")).1.remove(0).unwrap();
    assert_eq!(ann.timezone, Some(chrono_tz::Europe::Berlin));
    let left = told(bytes_of("unsubscribed"));
    assert!(left[0].starts_with(
        "2 gone@x.example \"Gone Away\" free? unsubscribed unsubscribed 2021-02-03T04:05:06Z [2020-05-06T07:08:09Z"
    ));
    assert!(left[0].ends_with(
        "[2021-02-03T04:05:06Z: mailchimp: unsubscribed, campaign: March issue, reason: NORMAL (no reason given)]"
    ));
    assert!(
        left[1].starts_with("3 spam@x.example \"\" yearly unsubscribed complaint 2021-02-04T04:05:06Z"),
        "{left:?}"
    );
    let cleaned = told(bytes_of("cleaned"));
    assert!(
        cleaned[0].starts_with(
            "2 dead@x.example \"Dead Letter\" free? unsubscribed hard_bounce 2020-02-03T04:05:06Z"
        )
    );
    assert!(cleaned[0].ends_with("mailchimp: cleaned, campaign: February issue]"), "{cleaned:?}");
}

#[test]
fn substack() {
    let created = "[2022-04-05T06:07:08Z: substack: created]";
    let list = [
        format!(
            "2 ann@x.example \"\" free? active {created} UNCLEAR it pays, but which plan is in Substack's other file: \
             import that as well"
        ),
        format!("3 bob@x.example \"\" free? unsubscribed unsubscribed ? {created}"),
        format!("4 cy@x.example \"\" free? active {created}"),
        "5 abc123@deletion-request.substack.com! it asked Substack to be deleted".into(),
        format!(
            "6 dee@x.example \"\" free? pending {created} UNCLEAR its status may mean several things; it was taken as \
             pending"
        ),
        "7 eve@x.example! active_subscription `maybe` is neither true nor false".into(),
    ];
    assert_eq!(told(bytes_of("list")), list);
    let paid = [
        "2 ann@x.example \"\" monthly active until 2027-03-01T00:00:00Z",
        "3 seat@x.example \"\" free? active UNCLEAR the plan `group` is not named in [import.plans]: who is new is free \
         without a term, who is known keeps their tier",
        "4 comp@x.example \"\" lifetime active",
        "5 past@x.example \"\" monthly active until 2020-01-01T00:00:00Z",
        "6 free@x.example \"\" free active",
        "7 ios@x.example \"\" monthly unsubscribed until 2027-03-01T00:00:00Z unsubscribed ?",
        "8 odd@x.example! expiry `soon` is not a time",
    ];
    assert_eq!(told(bytes_of("paid")), paid);
}

#[test]
fn keila() {
    let taken = "UNCLEAR its status may mean several things; it was taken as pending";
    let expected = [
        "2 ann@x.example \"Ann Lee\" free? active".to_owned(),
        "3 bob@x.example \"Bob\" free? unsubscribed unsubscribed ?".into(),
        "4 cy@x.example \"Cy\" free? unsubscribed hard_bounce ?".into(),
        format!("5 dee@x.example \"Dee\" free? pending {taken}"),
        "6 eve@x.example \"Eve\" free? pending".into(),
        "7 flo@x.example! `hyperactive` is not a status".into(),
        format!("8 gus@x.example \"Gus\" free? pending {taken}"),
    ];
    assert_eq!(told(bytes_of("keila")), expected);
}

#[test]
fn buttondown() {
    let created = "[2023-01-02T03:04:05Z: buttondown: created]";
    let expected = [
        format!("2 ann@x.example \"\" monthly active {created} note \"+1 for print\""),
        format!(
            "3 bob@x.example \"\" free? unsubscribed unsubscribed 2024-01-02T03:04:05Z {created} [2024-01-02T03:04:05Z: \
             buttondown: unsubscribed, reason: too many mails]"
        ),
        format!("4 cy@x.example \"\" yearly active until 2027-06-01T00:00:00Z {created}"),
        format!("5 dee@x.example \"\" free active {created}"),
        format!("6 eve@x.example \"\" free? pending {created}"),
        format!("7 flo@x.example \"\" free? unsubscribed hard_bounce ? {created}"),
        format!("8 gus@x.example \"\" free? unsubscribed complaint ? {created}"),
        format!(
            "9 hal@x.example \"\" free? active {created} UNCLEAR the plan `churning` is not named in [import.plans]: who \
             is new is free without a term, who is known keeps their tier"
        ),
        format!(
            "10 ivy@x.example \"\" free unsubscribed unsubscribed 2024-05-02T03:04:05Z {created} [2024-05-02T03:04:05Z: \
             buttondown: unsubscribed]"
        ),
        "11 jon@x.example! `wizard` is not a status".into(),
    ];
    assert_eq!(told(bytes_of("buttondown")), expected);
}

#[tokio::test]
async fn import_export_import_raises_nothing_and_loses_nothing() {
    for (name, bytes, _) in FILES {
        on_every_store(|store| async move {
            let report = take(&store, bytes).await;
            assert!(report.added > 0, "{name}");
            let first = exported(&store).await;
            assert_eq!(cells(&first).len() as u64, report.added, "{name}");

            // The same file again, and our own: nothing moves.
            for again in [*bytes, first.as_bytes()] {
                let report = take(&store, again).await;
                assert_eq!((report.added, report.updated), (0, 0), "{name}");
                assert_eq!(exported(&store).await, first, "{name}");
            }
            let fresh = TestStore::sqlite().await;
            let report = take(&fresh.store, first.as_bytes()).await;
            assert_eq!(
                (report.format, report.skipped_rows, report.unclear_rows),
                ("tidings", 0, 0),
                "{name}"
            );
            let (before, after) = (cells(&first), cells(&exported(&fresh.store).await));
            assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{name}");
            for (address, (cells, consent)) in &before {
                assert_eq!(&after[address].0, cells, "{name}");
                assert!(consent.iter().all(|line| after[address].1.contains(line)), "{name} {address}");
            }
            fresh.remove().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_suppressed_person_in_a_new_file_stays_suppressed_and_is_reported() {
    on_every_store(|store| async move {
        take(&store, bytes_of("cleaned")).await;
        take(&store, bytes_of("unsubscribed")).await;
        let own = "email,name,tier,status\ndead@x.example,,yearly,active\ngone@x.example,,yearly,active\n\
            spam@x.example,,yearly,active\n";
        let report = take(&store, own.as_bytes()).await;
        assert_eq!(report.suppressed, 3);
        let lines: Vec<u64> = report.kept_suppressed.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert!(report.kept_suppressed[0].reason.contains("stays so"));
        let mut tx = store.read().await.unwrap();
        let reasons: Vec<SuppressionReason> =
            suppressions::list(&mut tx).await.unwrap().into_iter().map(|row| row.reason).collect();
        use SuppressionReason::{Complaint, HardBounce, Unsubscribed};
        assert_eq!(reasons, [HardBounce, Unsubscribed, Complaint]);
        let gone = people::by_key(&mut tx, "gone@x.example").await.unwrap().unwrap();
        assert_eq!(gone.status.as_str(), "unsubscribed");
    })
    .await;
}

#[tokio::test]
async fn files_without_plans_take_nobodys_tier_and_unnamed_plans_give_none() {
    on_every_store(|store| async move {
        let own = "email,name,tier,status,term_ends_at\nann@x.example,Ann,lifetime,active,\n\
            hal@x.example,Hal,yearly,active,2027-01-01\n";
        take(&store, own.as_bytes()).await;
        take(&store, bytes_of("keila")).await;
        let report = take(&store, bytes_of("buttondown")).await;
        assert!(report.unclear.iter().any(|row| row.address == "hal@x.example"));
        let mut tx = store.read().await.unwrap();
        let hal = people::by_key(&mut tx, "hal@x.example").await.unwrap().unwrap();
        assert_eq!((hal.tier.as_str(), hal.term_ends_at.is_some()), ("yearly", true));
    })
    .await;
}

#[tokio::test]
async fn hostile_csv_t8() {
    let latin: Vec<u8> = T8.trim_start_matches('\u{feff}').chars().map(|c| c as u8).collect();
    let utf16: Vec<u8> = T8.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&[u8], Option<Encoding>); 3] =
        [(T8.as_bytes(), None), (&latin, Some(Encoding::Windows1252)), (&utf16, None)];
    let rows_of = |bytes, encoding| open_with(bytes, None, encoding).unwrap().1;
    let first = rows_of(T8.as_bytes(), None);
    for (bytes, encoding) in cases {
        assert_eq!(rows_of(bytes, encoding), first);
    }
    // Windows-1252 that nobody declared: a clear error for the row that needs it.
    let undeclared = rows_of(&latin, None);
    assert!(undeclared[1].as_ref().unwrap_err().reason.contains("--encoding windows-1252"), "{undeclared:?}");

    on_every_store(|store| async move {
        let report = take(&store, T8.as_bytes()).await;
        assert_eq!((report.format, report.rows, report.added, report.skipped_rows), ("plain", 3, 2, 0));
        let lines: Vec<u64> = report.unclear.iter().map(|row| row.line).collect();
        assert_eq!(lines, [4, 5], "an unclear status, and the address that comes twice");
        let csv = exported(&store).await;
        let cells = cells(&csv);
        let (ann, bob) = (&cells["Ann@ex.org"].0, &cells["bob@xn--mller-kva.example"].0);
        assert_eq!((ann[3].as_str(), bob[3].as_str()), ("pending", "pending"));
        assert_eq!(ann[8], "a;b\nc\n\n'=1+1");
        assert_eq!(take(&store, csv.as_bytes()).await.unchanged, 2);
        assert_eq!(exported(&store).await, csv);
    })
    .await;
}
