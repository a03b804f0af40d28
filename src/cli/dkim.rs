//! `tidings dkim`: keys for signing, and the DNS records that publish them.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use super::Context;
use crate::app::Failure;
use crate::config::{self, Paths, process_environment};
use crate::domain::address::Address;
use crate::domain::settings::is_selector;
use crate::mail::dkim_key;

const RSA: &str = "rsa";

/// Of an Ed25519 key, which has no other.
const ED25519_BITS: u32 = 256;

#[derive(Debug, Subcommand)]
pub enum DkimCommand {
    /// Makes a key, writes it where only you can read it, and prints its DNS record and what to write into tidings.toml.
    Generate(GenerateArgs),
}

#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// A name that this domain has not used for a key yet, for example t1, or 202611.
    selector: String,
    /// The domain that signs; without it, that of the publication's From.
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    /// An Ed25519 key signs beside an RSA key, which every domain needs.
    #[arg(long = "type", value_name = "TYPE", default_value = RSA, value_parser = [RSA, dkim_key::ED25519])]
    kind: String,
    /// Of an RSA key. Longer keys sign more slowly: 3072 bits take three times as long.
    #[arg(long, default_value = "2048", value_parser = dkim_key::SIZES)]
    bits: String,
    /// Where the private key goes; it must not exist. Without it, secrets/SELECTOR.pem beside the config folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Generated<'a> {
    selector: &'a str,
    domain: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    bits: u32,
    file: String,
    /// Where the record belongs.
    name: String,
    /// As one line, for web forms.
    record: String,
    /// In strings of at most 255 octets.
    strings: Vec<&'a str>,
    zone: String,
    settings: String,
}

pub fn dkim(context: &Context, command: DkimCommand) -> Result<(), Failure> {
    match command {
        DkimCommand::Generate(args) => generate(context, &args),
    }
}

fn generate(context: &Context, args: &GenerateArgs) -> Result<(), Failure> {
    let selector = &args.selector;
    if !is_selector(selector) {
        return Err(Failure::Usage(format!(
            "`{selector}` is not a selector; use letters, digits and hyphens, for example t1"
        )));
    }
    let domain = domain(context, args.domain.as_deref())?;
    let file = args
        .out
        .clone()
        .unwrap_or_else(|| Paths::of(&context.config).base.join("secrets").join(format!("{selector}.pem")));
    let is_rsa = args.kind == RSA;
    let (key, pem) = dkim_key::generate(if is_rsa { &args.bits } else { &args.kind })
        .ok_or_else(|| Failure::Ours("no key could be made: the system gave no random numbers".into()))?;
    write(&file, &pem)?;
    let record = dkim_key::record(&key);
    let name = dkim_key::record_name(selector, &domain);
    let strings = dkim_key::strings(&record);
    let in_settings = in_settings(context, &file);
    let table = if is_rsa { "[dkim]" } else { "[[dkim]]" };
    let settings = format!(
        "{table}\ndomain = \"{domain}\"\nselector = \"{selector}\"\nkey = {{ file = {} }}\n",
        toml::Value::String(in_settings)
    );
    let generated = Generated {
        selector,
        domain: &domain,
        kind: &args.kind,
        bits: if is_rsa { args.bits.parse().unwrap_or_default() } else { ED25519_BITS },
        file: file.display().to_string(),
        zone: dkim_key::zone(&name, &record),
        strings,
        name,
        record: record.clone(),
        settings,
    };
    if context.output.json {
        return context.output.document(&generated);
    }
    context.output.line(told(&generated).trim_end());
    Ok(())
}

/// The domain in A-labels. Without one, what the editors' file says, whatever else is wrong with the files.
fn domain(context: &Context, named: Option<&str>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Address::parse(&format!("postmaster@{named}"))
            .map(|address| address.domain().to_owned())
            .map_err(|_| Failure::Usage(format!("`{named}` is not a full domain name")));
    }
    let loaded = config::load(&context.config, &process_environment(), &context.flags);
    let publication = loaded.publication.ok_or_else(|| {
        let file = loaded.paths.publication.display();
        Failure::Usage(format!("{file} does not say from which domain mail comes; name it with --domain"))
    })?;
    Ok(publication.from.address.domain().to_owned())
}

/// Never over an old key: mails that are on their way still need it.
fn write(file: &Path, pem: &SecretString) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::No(format!("{} exists and is not overwritten; take another selector", file.display()))
        }
        _ => Failure::No(format!("{}: {error}", file.display())),
    };
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let mut out =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    out.write_all(pem.expose_secret().as_bytes()).and_then(|()| out.sync_all()).map_err(failed)
}

/// The path as the settings name it: relative to the parent of the config folder where it is below that.
fn in_settings(context: &Context, file: &Path) -> String {
    let base = Paths::of(&context.config).base;
    let below = match (base.canonicalize(), file.canonicalize()) {
        (Ok(base), Ok(file)) => file.strip_prefix(base).map(Path::to_owned).unwrap_or_else(|_| file.clone()),
        _ => file.to_owned(),
    };
    below.display().to_string()
}

fn told(key: &Generated<'_>) -> String {
    let Generated { file, name, record, zone, settings, .. } = key;
    let place = match key.kind {
        RSA => "in place of an older [dkim]",
        _ => "beside that of the RSA key, which has to be [[dkim]] then, too",
    };
    format!(
        "The private key is in {file}. Only you can read it; keep a copy where you keep other secrets.\n\n\
         1. Publish the public half. In a zone file:\n\n{zone}\n\
         In a web form, a TXT record named {name} with this value, on one line:\n\n{record}\n\n\
         2. When DNS answers with it, write into tidings.toml {place}:\n\n{settings}\n\
         Leave the old record in DNS for as long as mail signed with it may be on its way: `give_up` and a week.\n"
    )
}
