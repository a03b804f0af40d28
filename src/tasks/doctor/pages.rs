//! W78, W35, W39, W40: the links of mails as a mailbox provider follows them, over HTTPS, with a token that is nobody's.

use std::net::{IpAddr, SocketAddr};

use super::relays::{Told, date};
use super::{Patient, known};
use crate::domain::doctor::{Check, Status, Zone};
use crate::domain::token::{NOBODY, Purpose, Subject};
use crate::transport::page::{self, Page, Target};

/// RFC 8058 section 3.1.
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// The host of the public pages, without port.
pub(super) fn host(url: &str) -> String {
    Target::of(url).map_or_else(String::new, |target| target.host.to_lowercase())
}

pub(super) async fn look(patient: &Patient<'_>, zone: &Zone) -> (Vec<Check>, Option<Told>) {
    let url = &patient.publication.url;
    let token = patient.keyring.mint(Subject { purpose: Purpose::Unsubscribe, row: NOBODY, second: 0 });
    let Some(target) = Target::of(&format!("{url}/u/{token}")) else {
        let check = Check::fail("W35", "one_click_not_https", "publication.toml: url")
            .found(format!("{url}: the one-click link of every mail begins with it, and is not https"))
            .expected("an https:// address")
            .fix("url = \"https://news.example.org\", with a proxy that has a certificate in front of [web] listen");
        return (vec![check], None);
    };
    let addresses = known(zone, &target.host);
    if addresses.is_empty() {
        let why = "its host has no address, see above";
        return (vec![Check::skipped("W78", "web_page", url).found(why)], None);
    }
    let (at, page) = match first_answer(&target, &addresses).await {
        Ok(found) => found,
        Err(why) => return (vec![closed(url, &target, &why)], None),
    };
    let told = page.date.as_deref().and_then(date);
    let told = told.map(|theirs| Told { by: url.clone(), theirs, ours: patient.clock.now() });
    let posted = page::ask(&target, at, Some(ONE_CLICK)).await;
    (vec![shown(url, &page), one_click(url, posted)], told)
}

/// The page from the first address that answers.
async fn first_answer(target: &Target, addresses: &[IpAddr]) -> Result<(SocketAddr, Page), String> {
    let mut why = String::new();
    for address in addresses {
        let at = SocketAddr::new(*address, target.port);
        match page::ask(target, at, None).await {
            Ok(page) => return Ok((at, page)),
            // What a certificate says weighs more than that another address is away.
            Err(problem) if why.is_empty() || problem.starts_with("TLS") => why = problem,
            Err(_) => {}
        }
    }
    Err(why)
}

fn closed(url: &str, target: &Target, why: &str) -> Check {
    if why.starts_with("TLS") {
        return Check::fail("W78", "web_certificate", url)
            .found(why)
            .expected(format!("a certificate for {} that is valid and that everybody trusts", target.host))
            .fix(format!("have the proxy in front of [web] listen get one for {}", target.host));
    }
    Check::new("W78", "web_unreachable", Status::Unknown, url)
        .found(why)
        .expected("public pages that answer: without them no link in a mail works")
        .fix("start `tidings run`, with [web] listen behind a proxy for that address")
}

fn shown(url: &str, page: &Page) -> Check {
    match page.status {
        200 => Check::ok("W78", "web_page", url).found("the page behind the link of mails is shown"),
        status => Check::fail("W78", "web_page_missing", url)
            .found(format!("GET of an unsubscribe link: {status}{}", leads(page)))
            .expected("200, and no change by it")
            .fix("have the proxy hand all paths to [web] listen, and give both the same `secret`"),
    }
}

fn one_click(url: &str, posted: Result<Page, String>) -> Check {
    let fail = |id, key, found: String, expected: &str| {
        Check::fail(id, key, url).found(found).expected(expected).fix(
            "have the proxy hand POST to /u/ on as it is: no redirect, no login, no check of Origin or cookie",
        )
    };
    match posted {
        Ok(page) if (200..300).contains(&page.status) => Check::ok("W78", "one_click", url)
            .found(format!("the one-click POST is answered by {}", page.status)),
        Ok(page) if (300..400).contains(&page.status) => {
            let found = format!("the one-click POST is answered by {}{}", page.status, leads(&page));
            fail("W40", "one_click_redirected", found, "2xx without a redirect (RFC 8058 section 3.1)")
        }
        Ok(page) => {
            let found = format!("the one-click POST is answered by {}", page.status);
            fail(
                "W39",
                "one_click_refused",
                found,
                "2xx without cookie, login or Origin (RFC 8058 section 3.1)",
            )
        }
        Err(why) => {
            fail("W39", "one_click_refused", format!("the one-click POST is not answered: {why}"), "2xx")
        }
    }
}

fn leads(page: &Page) -> String {
    page.leads_to.as_ref().map_or_else(String::new, |place| format!(", to {place}"))
}
