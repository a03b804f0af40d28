//! The own import format: what is taken, what is skipped, and what is said about it.

use std::io::Read;

use proptest::prelude::*;
use tidings::domain::publication::TierId;
use tidings::domain::subscriber::{ImportRow, SubscriberStatus};
use tidings::import::{HeaderProblem, Skipped, rows};

fn tiers() -> Vec<TierId> {
    ["free", "monthly", "yearly", "lifetime"].into_iter().map(TierId::from).collect()
}

fn import(text: impl AsRef<[u8]>) -> Vec<Result<ImportRow, Skipped>> {
    rows(text.as_ref(), &tiers()).unwrap().map(|row| row.unwrap()).collect()
}

/// `line address name tier status` of what was taken, `line address! reason` of what was not.
fn told(text: impl AsRef<[u8]>) -> Vec<String> {
    let tell = |row: Result<ImportRow, Skipped>| match row {
        Ok(row) => format!("{} {} {:?} {} {}", row.line, row.address, row.name, row.tier, row.status),
        Err(skipped) => format!("{} {}! {}", skipped.line, skipped.address, skipped.reason),
    };
    import(text).into_iter().map(tell).collect()
}

fn header_problem(text: &[u8]) -> String {
    rows(text, &tiers()).err().map(|problem| problem.to_string()).unwrap_or_default()
}

#[test]
fn one_row_in_many_dresses() {
    let cases: &[&[u8]] = &[
        b"email,name,tier,status\na@x.example,Ann Lee,free,active\n",
        b"email,name,tier,status\r\na@x.example,Ann Lee,free,active\r\n",
        b"email,name,tier,status\na@x.example,Ann Lee,free,active",
        b"email;name;tier;status\na@x.example;Ann Lee;free;active\n",
        b"email\tname\ttier\tstatus\na@x.example\tAnn Lee\tfree\tactive\n",
        b"email|name|tier|status\na@x.example|Ann Lee|free|active\n",
        b"\xef\xbb\xbfemail,name,tier,status\na@x.example,Ann Lee,free,active\n",
        b"\xef\xbb\xbf\"email\",\"name\",\"tier\",\"status\"\n\"a@x.example\",\"Ann Lee\",\"free\",\"active\"\n",
        b"Status,TIER, Name ,Email\nactive,free,Ann Lee,a@x.example\n",
        b"email,name,tier,status\na@x.example, Ann Lee ,Free,ACTIVE\n",
        b"email,name,tier,status\na@x.example,Ann Lee,free,\n",
        b"email,name,tier,status\na@x.example,Ann Lee,free,active,,\n",
        b"email,name,tier,status,\na@x.example,Ann Lee,free,active,\n",
        b"email,name,tier,status\na@x.example,\"Ann\x07 Lee\",free,active\n",
    ];
    for text in cases {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(told(text), ["2 a@x.example \"Ann Lee\" free active"], "{shown:?}");
    }
}

#[test]
fn names_are_cleaned_and_kept() {
    let cases = [
        ("", ""),
        ("\"Doe, Ann\"", "Doe, Ann"),
        ("\"Ann \"\"Bee\"\" Doe\"", "Ann \"Bee\" Doe"),
        ("\"Ann\nDoe\"", "Ann Doe"),
        ("\"Ann\r\nBcc: x@x.example\"", "Ann Bcc: x@x.example"),
        ("Ame\u{301}lie", "Am\u{e9}lie"),
        ("'=SUM(A1)", "=SUM(A1)"),
        ("'-x", "-x"),
        ("'Aziz", "'Aziz"),
        ("=SUM(A1)", "=SUM(A1)"),
        ("\u{202e}evil", "evil"),
        ("李小龍", "李小龍"),
    ];
    for (field, expected) in cases {
        let rows = import(format!("email,name,tier,status\na@x.example,{field},free,active\n"));
        assert_eq!(rows.len(), 1, "{field}");
        assert_eq!(rows[0].as_ref().unwrap().name, expected, "{field}");
    }
}

#[test]
fn optional_columns_are_checked() {
    let header = "email,name,tier,status,timezone,language,term_started_at,term_ends_at\n";
    let full = "a@x.example,Ann,yearly,pending,Europe/Berlin,de-AT,2026-01-01,2027-01-01T12:00:00+01:00\n";
    let row = import(format!("{header}{full}")).remove(0).unwrap();
    assert_eq!(row.status, SubscriberStatus::Pending);
    assert_eq!(row.timezone, Some(chrono_tz::Europe::Berlin));
    assert_eq!(row.language.as_deref(), Some("de-AT"));
    assert_eq!(row.term_started_at.unwrap().rfc3339(), "2026-01-01T00:00:00Z");
    assert_eq!(row.term_ends_at.unwrap().rfc3339(), "2027-01-01T11:00:00Z");
    let empty = import(format!("{header}a@x.example,Ann,free,active,,,,\n")).remove(0).unwrap();
    assert_eq!((empty.timezone, empty.language, empty.term_ends_at), (None, None, None));
    let cases = [
        ("Mars/Olympus,,,", "`Mars/Olympus` is not a time zone"),
        (",english,,", "`english` is not a language"),
        (",,yesterday,", "term_started_at `yesterday` is not RFC 3339 or year-month-day"),
        (",,,2026-02-30", "term_ends_at `2026-02-30` is not RFC 3339 or year-month-day"),
        (",,,2026-1-2", "term_ends_at `2026-1-2` is not RFC 3339 or year-month-day"),
        (",,2026-02-01,2026-01-01", "the term ends before it starts"),
    ];
    for (fields, reason) in cases {
        let told = told(format!("{header}a@x.example,Ann,free,active,{fields}\n"));
        assert_eq!(told, [format!("2 a@x.example! {reason}")], "{fields}");
    }
}

#[test]
fn a_bad_row_is_reported_with_its_line_and_stops_nothing() {
    let mut text = b"email,name,tier,status\n\
        a@x.example,\"two\nlines\",free,active\n\
        nobody,B,free,active\n\
        \n\
        c@x.example,C,gold,active\n\
        d@x.example,D,free,maybe\n\
        e@x.example,Doe, E,free,active\n\
        f@x.example,F,free\n\
        ,G,free,active\n\
        ;;;\n\
        ,,,\n\
        h@x.example,H\xff,free,active\n\
        i@x.example,\"I,free,active\n\
        j@x.example,J,free,active\n\
        k@x.example,"
        .to_vec();
    text.extend_from_slice("x".repeat(65 * 1024).as_bytes());
    text.extend_from_slice(b",free,active\nl@x.example,L,,active\nm@x.example,M,lifetime,unsubscribed\n");
    let expected = [
        "2 a@x.example \"two lines\" free active",
        "4 nobody! not an address: it has no @",
        "6 c@x.example! there is no tier `gold`",
        "7 d@x.example! `maybe` is not a status (pending, active, unsubscribed)",
        "8 e@x.example! it has 5 columns, the header has 4",
        "9 f@x.example! it has 3 columns, the header has 4",
        "10 ! it has no address",
        "11 ;;;! it has 1 columns, the header has 4",
        "13 h@x.example! name is not UTF-8 text; is the file Windows-1252? then say --encoding windows-1252",
        "14 ! a quote opens and is never closed",
        "15 j@x.example \"J\" free active",
        "16 k@x.example! a field of 65 kB is too long",
        "17 l@x.example! it has no tier",
        "18 m@x.example \"M\" lifetime unsubscribed",
    ];
    assert_eq!(told(text), expected);
}

#[test]
fn addresses_are_normalised_and_commands_in_them_refused() {
    let told = told(
        "email,name,tier,status\nAnn@B\u{fc}cher.Example,,free,active\n\"a@x.example\nRCPT TO:<b@x.example>\",,free,active\n",
    );
    assert_eq!(told[0], "2 Ann@xn--bcher-kva.example \"\" free active");
    assert!(told[1].starts_with("3 ") && told[1].contains("! not an address"), "{told:?}");
}

#[test]
fn headers_that_cannot_be_used_say_why() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"e\0m\0a\0i\0l\0\n\0", "the file is UTF-16 without a byte order mark"),
        (b"\xff\xfee\0m\0", "the header lacks email, name, tier, status; it names em"),
        (b"email,name\n", "the header lacks tier, status; it names email, name"),
        (b"E-Mail;Name;Tier;Status\n", "the header lacks email; it names e-mail, name, tier, status"),
        (
            b"ann@x.example,Ann,free,active\n",
            "the header lacks email, name, tier, status; it names an address",
        ),
        (b"email,name,tier,status,Email\n", "the header names email twice"),
        (b"email,\"name,tier,status\n", "the first line is not a header: a quote opens"),
    ];
    for (text, expected) in cases {
        let problem = header_problem(text);
        assert!(problem.starts_with(expected), "{problem}\n{expected}");
    }
    assert!(!header_problem(b"ann@x.example,Ann,free,active\n").contains("ann@"));
}

#[test]
fn unknown_columns_are_said_once() {
    let text: &[u8] = b"id,email,name,tier,status,shoe size\n1,a@x.example,A,free,active,42\n";
    let mut rows = rows(text, &tiers()).unwrap();
    assert_eq!(rows.unknown_columns(), ["id", "shoe size"]);
    assert_eq!(rows.next().unwrap().unwrap().unwrap().address.as_str(), "a@x.example");
}

/// Fails after its text, as a disk does.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(std::io::Error::other("bad sector")),
            read => Ok(read),
        }
    }
}

#[test]
fn a_failing_disk_is_an_error_and_not_the_end_of_the_file() {
    let text = b"email,name,tier,status\na@x.example,A,free,active\nb@x.example,B,fr";
    let mut rows = rows(Failing(text), &tiers()).unwrap();
    assert!(rows.next().unwrap().unwrap().is_ok());
    assert_eq!(rows.next().unwrap().unwrap_err().to_string(), "bad sector");
    assert!(rows.next().is_none());
    assert!(matches!(tidings::import::rows(Failing(b""), &tiers()), Err(HeaderProblem::Read(_))));
}

proptest! {
    /// What the csv crate writes, we read: any text, any delimiter.
    #[test]
    fn what_a_csv_writer_quotes_comes_back(
        names in proptest::collection::vec("[a-z\"';,|\n\r\t =é]{0,20}", 1..8),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b'|')],
        crlf in any::<bool>(),
    ) {
        let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
        let mut writer =
            csv::WriterBuilder::new().delimiter(delimiter).terminator(terminator).from_writer(Vec::new());
        writer.write_record(["email", "name", "tier", "status"]).unwrap();
        for name in &names {
            writer.write_record(["a@x.example", name, "free", "active"]).unwrap();
        }
        let found = import(writer.into_inner().unwrap());
        prop_assert_eq!(found.len(), names.len());
        for (row, name) in found.iter().zip(&names) {
            let name = name.replace("\r\n", "\n").replace(['\n', '\r', '\t'], " ").trim().to_owned();
            let formula = name.starts_with('\'') && name.trim_start_matches('\'').starts_with('=');
            let name = if formula { name[1..].to_owned() } else { name };
            prop_assert_eq!(&row.as_ref().unwrap().name, &name);
        }
    }

    /// Any bytes behind a good header end, with lines in order, and no more answers than lines.
    #[test]
    fn any_bytes_end_in_order(bytes in proptest::collection::vec(
        prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'a'), any::<u8>()], 0..200,
    )) {
        let mut text = b"email,name,tier,status\n".to_vec();
        text.extend_from_slice(&bytes);
        let lines: Vec<u64> = import(&text)
            .into_iter()
            .map(|row| row.map_or_else(|skipped| skipped.line, |row| row.line))
            .collect();
        prop_assert!(lines.is_sorted_by(|a, b| a < b), "{:?}", lines);
    }
}
