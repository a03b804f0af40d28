//! `/feed.xml`: the newest articles as an Atom feed (RFC 4287), each with its summary and its start. What a stranger may read, whoever
//! asks: programs fetch it without a cookie and keep it.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use chrono::{NaiveDate, NaiveTime};

use super::archive::keep;
use super::public::Site;
use super::reading::{Open, reading};
use crate::domain::body::escape_html;
use crate::domain::publication::Publication;
use crate::domain::wall_clock;
use crate::render::plain_html;
use crate::runtime::Timestamp;

/// The newest articles in it.
const ENTRIES: usize = 20;

pub(super) async fn atom(State(site): State<Site>, mut headers: HeaderMap) -> Response {
    let reading = match reading(&site, None).await {
        Ok(reading) => reading,
        Err(later) => return later,
    };
    let content = site.shown();
    let publication = content.publication();
    let all = content.articles();
    let open = reading.all(publication, &all);
    let dated: Vec<(&Open<'_>, NaiveDate)> =
        open.iter().filter_map(|one| Some((one, one.day?))).take(ENTRIES).collect();
    // It says the same whatever is shown.
    headers.remove(header::COOKIE);
    keep(&headers, "application/atom+xml; charset=utf-8", 900, feed(publication, &dated))
}

fn feed(publication: &Publication, dated: &[(&Open<'_>, NaiveDate)]) -> String {
    let url = text(&publication.url);
    let (name, language) = (text(&publication.name), text(&publication.language));
    let newest = dated.first().map_or(Timestamp(0), |(_, day)| at(publication, *day));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"{language}\">\n\
         <id>{url}/feed.xml</id>\n<title>{name}</title>\n<updated>{}</updated>\n<author><name>{name}</name></author>\n\
         <link rel=\"self\" type=\"application/atom+xml\" href=\"{url}/feed.xml\"/>\n<link rel=\"alternate\" type=\"text/html\" href=\"{url}/archive\"/>\n",
        newest.rfc3339()
    );
    for (open, day) in dated {
        let article = open.article;
        let place = text(&article.url);
        let start = match article.refusal(open.tier) {
            None => plain_html(&article.for_tier(open.tier).html),
            Some(_) => String::new(),
        };
        out.push_str(&format!(
            "<entry>\n<id>{place}</id>\n<title>{}</title>\n<updated>{}</updated>\n<author><name>{}</name></author>\n\
             <link rel=\"alternate\" type=\"text/html\" href=\"{place}\"/>\n<summary>{}</summary>\n<content type=\"html\">{}</content>\n</entry>\n",
            text(&article.title),
            at(publication, *day).rfc3339(),
            text(&article.author),
            text(&article.summary),
            text(&start),
        ));
    }
    out.push_str("</feed>\n");
    out
}

fn at(publication: &Publication, day: NaiveDate) -> Timestamp {
    wall_clock::instant_of(day.and_time(NaiveTime::MIN), publication.timezone)
}

/// As in HTML, without the two characters that are none to XML.
fn text(value: &str) -> String {
    let kept: String = value.chars().filter(|c| !matches!(c, '\u{FFFE}' | '\u{FFFF}')).collect();
    let mut out = String::with_capacity(kept.len());
    escape_html(&kept, &mut out);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_in_a_title_breaks_the_feed() {
        assert_eq!(super::text("a<b>&\"\u{0}\u{1b}c\u{FFFF}\n"), "a&lt;b&gt;&amp;&quot;  c\n");
    }
}
