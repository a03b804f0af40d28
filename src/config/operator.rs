//! Reads `tidings.toml`: the operator's settings.
//!
//! Every function reads one table completely before it gives up on it, so that all mistakes of a file are found at once.

use std::sync::Arc;
use std::time::Duration;

use super::mail_in;
use super::reply_rules;
use super::retention::retention;
use super::secret::Sources;
use super::section::{Found, Section};
use super::signing;
use super::syntax::{self, wrong};
use super::tree::Value;
use super::urls::{self, Storage};
use crate::domain::reply_rule::ReplyRules;
use crate::domain::settings::{
    AddressPatterns, DomainSettings, OnUncertain, Rate, RelaySecurity, RelaySettings, RetrySettings,
    Settings, StorageUrl, WebSettings,
};
use secrecy::SecretString;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Reads the whole file. `None` when something that has no default is missing or wrong.
pub(super) fn settings(mut root: Section<'_>, sources: &Sources<'_>) -> Option<Settings> {
    let secrets = root
        .required("secret", "write secret = { env = \"TIDINGS_SECRET\" }")
        .and_then(|found| sources.signing(found));
    let operators_found = root.optional("operators");
    if operators_found.as_ref().is_none_or(Found::is_empty_list) {
        let hint = "write operators = [\"ops@example.org\"]";
        root.report.warning(root.place, "operators", "nobody gets alarms by mail", hint);
    }
    let operators = operators_found.and_then(|found| found.parse_list(syntax::address));
    let message_id_domain = root
        .required("message_id_domain", "write a domain of yours, for example \"news.example.org\"")
        .and_then(|found| found.parse(syntax::host_name));
    let drain = root.optional("drain").and_then(|found| found.parse(syntax::duration)).unwrap_or(MINUTE);
    let storage = storage(&mut root, sources);
    let rules = reply_rules(&mut root, sources);
    let hello = message_id_domain.as_deref().unwrap_or_default();
    let relays = relays(&mut root, sources, (hello, &rules));
    let domains = domains(&mut root);
    let retry = retry(&mut root);
    let dkim = signing::keys(&mut root, sources);
    let addresses = root
        .required("addresses", "add [addresses] with `reply` and `bounce`")
        .and_then(|found| addresses(found.section()?));
    let intake = mail_in::intake(&mut root, sources);
    let desk = root
        .required("desk", "add [desk] with the support address: address = \"support@news.example.org\"")
        .and_then(|found| mail_in::desk(found.section()?));
    let web = web(&mut root);
    let retention = retention(&mut root);
    let templates = root.optional("templates").and_then(|found| {
        let folder = sources.base.join(found.text()?);
        if folder.is_dir() {
            return Some(folder);
        }
        let hint = "name an existing folder; relative paths start at the parent of the config folder";
        found.wrong(&format!("there is no folder {}", folder.display()), hint)
    });
    root.finish();
    Some(Settings {
        secrets: secrets?,
        operators: operators.unwrap_or_default(),
        message_id_domain: message_id_domain?,
        drain,
        storage: storage?,
        relays: relays?,
        rules,
        domains,
        retry,
        dkim,
        addresses: addresses?,
        intake: intake?,
        desk: desk?,
        web,
        retention,
        templates,
    })
}

fn storage(root: &mut Section<'_>, sources: &Sources<'_>) -> Option<StorageUrl> {
    let default = || Some(StorageUrl::Sqlite(sources.base.join("var/tidings.db")));
    let Some(found) = root.optional("storage") else { return default() };
    let mut section = found.section()?;
    let url = section.optional("url");
    section.finish();
    let Some(url) = url else { return default() };
    if let Value::Table(_) = url.node.value {
        let secret = sources.secret(&url)?;
        return match url
            .checked(urls::storage(secrecy::ExposeSecret::expose_secret(&secret), sources.base))?
        {
            Storage::Sqlite(path) => Some(StorageUrl::Sqlite(path)),
            Storage::Postgres { .. } => Some(StorageUrl::Postgres(secret)),
        };
    }
    match url.parse(|text| urls::storage(text, sources.base))? {
        Storage::Sqlite(path) => Some(StorageUrl::Sqlite(path)),
        Storage::Postgres { has_password: false } => {
            Some(StorageUrl::Postgres(SecretString::from(url.text()?)))
        }
        Storage::Postgres { has_password: true } => {
            url.wrong("holds a password", "write url = { env = \"TIDINGS_DATABASE\" } and keep the URL there")
        }
    }
}

/// The rules for replies, with a file of the operator's before them.
fn reply_rules(root: &mut Section<'_>, sources: &Sources<'_>) -> Arc<ReplyRules> {
    let path =
        root.optional("reply_rules").and_then(|found| found.text()).map(|path| sources.base.join(path));
    let Some(path) = path else { return reply_rules::built_in() };
    let (rules, problems) = reply_rules::with_file(&path);
    problems.into_iter().for_each(|problem| root.report.push(problem));
    rules.unwrap_or_else(reply_rules::built_in)
}

fn relays(
    root: &mut Section<'_>,
    sources: &Sources<'_>,
    shared: (&str, &Arc<ReplyRules>),
) -> Option<Vec<RelaySettings>> {
    const HINT: &str = "add [[relays]] with `name` and `url`";
    let found = root.required("relays", HINT)?;
    let items = found.list()?;
    if items.is_empty() {
        return found.wrong("is empty", HINT);
    }
    let mut relays: Vec<RelaySettings> = Vec::new();
    for item in items {
        let Some(relay) = item.section().and_then(|section| relay(section, sources, shared)) else {
            continue;
        };
        if relays.iter().any(|other| other.name == relay.name) {
            item.wrong::<()>(&format!("there are two relays `{}`", relay.name), "give each its own name");
        }
        relays.push(relay);
    }
    Some(relays)
}

fn relay(
    mut section: Section<'_>,
    sources: &Sources<'_>,
    (hello, rules): (&str, &Arc<ReplyRules>),
) -> Option<RelaySettings> {
    let name = section.required("name", "write name = \"main\"").and_then(|found| found.parse(syntax::slug));
    let url_found = section.required("url", "write url = \"smtp://127.0.0.1:25\"");
    let url = url_found.as_ref().and_then(|found| found.parse(urls::relay));
    let is_plain = url.as_ref().is_some_and(|(security, _)| *security == RelaySecurity::None);
    let user_found = section.optional("username");
    let username = user_found.as_ref().and_then(|found| found.text()).map(str::to_owned);
    let password_found = section.optional("password");
    let password = password_found.as_ref().and_then(|found| sources.secret(found));
    match (&user_found, &password_found) {
        (Some(found), None) => {
            found.wrong::<()>("has no password", "add password = { env = \"SMTP_PASSWORD\" }")
        }
        (None, Some(found)) => found.wrong::<()>("has no user name", "add `username`"),
        (Some(found), _) if is_plain => found.wrong::<()>(
            "would be sent with its password over a connection without TLS",
            "use smtp+starttls:// or smtps://, or leave `username` and `password` out",
        ),
        _ => None,
    };
    let ca_found = section.optional("ca");
    let ca = ca_found.as_ref().and_then(|found| sources.certificates(found));
    if let (Some(found), true) = (&ca_found, is_plain) {
        found.wrong::<()>("has no use without TLS", "use smtp+starttls:// or smtps://, or leave `ca` out");
    }
    let connections = section.optional("connections").and_then(|found| found.integer(1..=500)).unwrap_or(8);
    let rates = section.optional("rate").map(rates).unwrap_or_default();
    let messages_per_connection = section
        .optional("messages_per_connection")
        .and_then(|found| found.integer(1..=100_000))
        .unwrap_or(100);
    let weight = section.optional("weight").and_then(|found| found.integer(1..=1000)).unwrap_or(1);
    let hello =
        section.optional("hello").map_or(Some(hello.to_owned()), |found| found.parse(syntax::host_name));
    let sends_from = section.optional("sends_from").and_then(|found| found.parse_list(syntax::ip));
    section.finish();
    let (security, place): (RelaySecurity, _) = url?;
    Some(RelaySettings {
        name: name?,
        security,
        host: place.host,
        port: place.port,
        username,
        password,
        ca,
        connections: connections as usize,
        rates,
        messages_per_connection,
        weight,
        hello: hello?,
        sends_from: sends_from.unwrap_or_default(),
        rules: rules.clone(),
    })
}

/// One rate or a list of them; two for the same span contradict each other.
fn rates(found: Found<'_>) -> Vec<Rate> {
    let mut rates: Vec<Rate> = Vec::new();
    for item in found.one_or_list() {
        let Some(rate) = item.parse(syntax::rate) else { continue };
        if rates.iter().any(|other| other.per == rate.per) {
            item.wrong::<()>("is a second rate for the same span of time", "keep one of them");
        }
        rates.push(rate);
    }
    rates
}

fn domains(root: &mut Section<'_>) -> Vec<DomainSettings> {
    let Some(items) = root.optional("domains").and_then(|found| found.list()) else { return Vec::new() };
    let mut lanes: Vec<DomainSettings> = Vec::new();
    for item in items {
        let Some(mut section) = item.section() else { continue };
        let found = section.required("match", "write match = [\"gmail.com\"]");
        let matches =
            found.as_ref().and_then(|found| found.parse_list(syntax::host_name)).unwrap_or_default();
        if let Some(found) = found {
            if let Some(twice) =
                matches.iter().find(|domain| lanes.iter().any(|l| l.matches.contains(domain)))
            {
                let problem = format!("{twice} is in two lanes");
                found.wrong::<()>(&problem, "a domain belongs to one lane");
            }
            if found.is_empty_list() {
                found.wrong::<()>("is empty", "name at least one recipient domain");
            }
        }
        let rates = section.optional("rate").map(rates).unwrap_or_default();
        let connections = section.optional("connections").and_then(|found| found.integer(1..=500));
        section.finish();
        lanes.push(DomainSettings { matches, rates, connections: connections.map(|count| count as usize) });
    }
    lanes
}

fn retry(root: &mut Section<'_>) -> RetrySettings {
    let mut retry = RetrySettings {
        schedule: vec![5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR],
        give_up: 4 * DAY,
        on_uncertain: OnUncertain::Resend,
    };
    let Some(mut section) = root.optional("retry").and_then(|found| found.section()) else { return retry };
    if let Some(found) = section.optional("schedule")
        && let Some(items) = found.list()
    {
        if items.is_empty() {
            found.wrong::<()>("is empty", "write at least one wait: [\"5m\"]");
        } else {
            // Equal waits are fine here, so this is not `parse_list`.
            retry.schedule = items.iter().filter_map(|item| item.parse(syntax::some_duration)).collect();
        }
    }
    if let Some(give_up) = section.optional("give_up").and_then(|found| found.parse(syntax::some_duration)) {
        retry.give_up = give_up;
    }
    let on_uncertain = section.optional("on_uncertain").and_then(|found| {
        found.parse(|text| match text {
            "resend" => Ok(OnUncertain::Resend),
            "hold" => Ok(OnUncertain::Hold),
            _ => wrong(format!("`{text}` is not a choice"), "write \"resend\" or \"hold\""),
        })
    });
    section.finish();
    retry.on_uncertain = on_uncertain.unwrap_or(retry.on_uncertain);
    retry
}

fn addresses(mut section: Section<'_>) -> Option<AddressPatterns> {
    let reply = section
        .required("reply", "write reply = \"support+{token}@news.example.org\"")
        .and_then(|found| found.parse(syntax::pattern));
    let bounce = section
        .required("bounce", "write bounce = \"bounce+{token}@news.example.org\"")
        .and_then(|found| found.parse(syntax::pattern));
    let unsubscribe = section.optional("unsubscribe").and_then(|found| found.parse(syntax::pattern));
    let join = section.optional("join").and_then(|found| {
        found.parse(|text| match text.contains("{token}") {
            true => wrong("holds a {token}", "people write to it by hand: \"join@news.example.org\""),
            false => syntax::address(text),
        })
    });
    section.finish();
    Some(AddressPatterns { reply: reply?, bounce: bounce?, unsubscribe, join })
}

fn web(root: &mut Section<'_>) -> WebSettings {
    let mut web = WebSettings { listen: None, private: None, private_url: None, proxies: Vec::new() };
    let Some(mut section) = root.optional("web").and_then(|found| found.section()) else { return web };
    web.listen = section.optional("listen").and_then(|found| found.parse(syntax::socket));
    let proxies = section.optional("proxies").and_then(|found| found.parse_list(syntax::network));
    web.proxies = proxies.unwrap_or_default();
    let private = section.optional("private");
    web.private = private.as_ref().and_then(|found| found.parse(syntax::socket));
    web.private_url = section.optional("private_url").and_then(|found| found.parse(urls::web_base));
    if let (Some(found), true) = (&private, web.listen.is_some() && web.listen == web.private) {
        found.wrong::<()>("is the public address too", "give the private pages an address of their own");
    }
    let is_bare = web.private.is_some_and(|address| !address.ip().is_loopback()) && web.private_url.is_none();
    if let (Some(found), true) = (private, is_bare) {
        found.wrong::<()>(
            "can be reached from other machines, and who signs in there would be read on the way",
            "put a proxy with a certificate before it and name it: private_url = \"https://desk.example.org\"; or listen on \
             127.0.0.1",
        );
    }
    section.finish();
    web
}
