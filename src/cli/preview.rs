//! `tidings preview`: the very mail that one tier will get, or all of them side by side, before anybody does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::Context;
use crate::app::gallery::{self, Shown};
use crate::app::{Failure, Setup};
use crate::domain::address::Address;
use crate::domain::body::fill;
use crate::domain::publication::TierId;
use crate::domain::settings::StorageUrl;
use crate::domain::subscriber::{SAMPLE_NAME, Subscriber};
use crate::domain::suppression::SuppressionReason;
use crate::domain::token::NOBODY;
use crate::mail::compose::{Compiled, Recipient};
use crate::runtime::{Clock, SystemClock};
use crate::store::{Store, audit, owners, people, suppressions};
use crate::tasks::proof::{self, Proof, ProofProblem, Sample};
use crate::tasks::{lease, restore};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("form").args(["tier", "out", "to"]).required(true).multiple(true))]
pub struct PreviewArgs {
    /// The slug of a one-off edition, of a slot's coming date, or of a queued edition, which is shown as it was frozen.
    edition: String,
    /// Without it: all tiers, as files in --out and side by side in its index.html, or as one mail each with --to.
    #[arg(long)]
    tier: Option<String>,
    /// Fills in a subscriber's own name and term; without it, a sample reader's.
    #[arg(long = "as", value_name = "ADDRESS")]
    as_address: Option<String>,
    /// Writes EDITION-TIER.eml, .html and .txt there; without it, the text part is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Sends it to an editor, an operator or a member of staff, through the queue like every other mail.
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
}

/// Shows the bytes that will be sent but for Date, ids, tokens and boundary. Its links and addresses change nothing for anybody.
pub async fn preview(context: &Context, args: &PreviewArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let store = store(&setup, args).await?;
    let person = match (&args.as_address, &store) {
        (Some(text), Some(store)) => Some(person(store, text).await?),
        _ => None,
    };
    let proofs = chosen(&setup, store.as_ref(), args).await?;
    // Most of them are every tier's.
    for warning in proofs.iter().flat_map(|proof| &proof.warnings).collect::<BTreeSet<_>>() {
        eprintln!("tidings: {warning}");
    }
    // What cannot be composed is not queued either.
    let mails: Vec<Previewed> =
        proofs.iter().map(|proof| previewed(&setup, proof, person.as_ref())).collect::<Result<_, _>>()?;
    if let (Some(to), Some(store)) = (&args.to, &store) {
        send(context, &setup, store, (args, to), person.as_ref(), &proofs).await?;
    }
    if let Some(store) = store {
        store.close().await;
    }
    match (&args.out, &args.tier) {
        (Some(folder), Some(_)) => {
            for mail in &mails {
                write(context, folder, &args.edition, mail)?;
            }
        }
        (Some(folder), None) => side_by_side(context, folder, &setup, &args.edition, mails)?,
        (None, Some(_)) if args.to.is_none() => {
            for mail in &mails {
                context.output.line(format!("Subject: {}\n\n{}", mail.subject, mail.text));
            }
        }
        (None, _) => {}
    }
    Ok(())
}

/// The database, where it is there. What only files are needed for works without.
async fn store(setup: &Setup, args: &PreviewArgs) -> Result<Option<Store>, Failure> {
    let needed = args.as_address.is_some() || args.to.is_some();
    if let (StorageUrl::Sqlite(path), false) = (&setup.settings.storage, needed)
        && !path.exists()
    {
        return Ok(None);
    }
    let opened = match args.to {
        Some(_) => restore::open(&setup.settings.storage, SystemClock.now()).await,
        None => Store::open(&setup.settings.storage).await,
    };
    match opened {
        Ok(store) => Ok(Some(store)),
        Err(error) if error.is_away() && !needed => {
            eprintln!("tidings: {error}: shown from the files, as if nothing of it were queued");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn chosen(setup: &Setup, store: Option<&Store>, args: &PreviewArgs) -> Result<Vec<Proof>, Failure> {
    let slug = &args.edition;
    let frame = setup.edition_frame();
    let proofs = proof::of(store, &setup.content, &frame, slug, SystemClock.now()).await;
    let proofs = proofs.map_err(|problem| match problem {
        ProofProblem::Store(error) => error.into(),
        ProofProblem::Files(problems) => Failure::problems(&problems),
        ProofProblem::Nothing(why) => Failure::No(format!("`{slug}`: {why}")),
        ProofProblem::Unknown => Failure::Usage(format!(
            "there is no edition `{slug}`, and no slot has such a date; `tidings schedule` and `tidings editions list` \
             name them"
        )),
    })?;
    let Some(tier) = args.tier.as_deref().map(TierId::from) else { return Ok(proofs) };
    let tiers: Vec<&str> = proofs.iter().map(|proof| proof.tier.as_str()).collect();
    let unknown = format!("`{tier}` gets nothing of it; tiers are {}", tiers.join(", "));
    let proof = proofs.into_iter().find(|proof| proof.tier == tier);
    Ok(vec![proof.ok_or(Failure::Usage(unknown))?])
}

async fn person(store: &Store, text: &str) -> Result<Subscriber, Failure> {
    let address = address(text)?;
    let person = people::by_key(&mut store.read().await?, &address.key()).await?;
    person.ok_or_else(|| Failure::No(format!("there is no subscriber {address}")))
}

fn address(text: &str) -> Result<Address, Failure> {
    Address::parse(text).map_err(|problem| Failure::Usage(format!("`{text}` is not an address: {problem}")))
}

#[derive(Serialize)]
struct Queued<'a> {
    delivery: i64,
    tier: &'a str,
    address: &'a str,
}

/// Only to people of the house: a paid article must not leave for somebody who has not paid.
async fn send(
    context: &Context,
    setup: &Setup,
    store: &Store,
    (args, to): (&PreviewArgs, &str),
    person: Option<&Subscriber>,
    proofs: &[Proof],
) -> Result<(), Failure> {
    let to = address(to)?;
    let settings = &setup.settings;
    let editors = setup.content.publication.editors.iter();
    let staff = settings.desk.staff.iter().map(|member| &member.email);
    if !editors.chain(&settings.operators).chain(staff).any(|known| known.key() == to.key()) {
        return Err(Failure::No(format!(
            "{to} is no editor, operator or member of staff, and previews hold what readers pay for; add it to `editors` \
             in publication.toml"
        )));
    }
    let now = SystemClock.now();
    let mut tx = store.write().await?;
    let suppression = suppressions::of(&mut tx, &to).await?;
    if let Some(suppression) = suppression.filter(|found| found.reason != SuppressionReason::Unsubscribed) {
        return Err(Failure::No(format!(
            "{to} is suppressed ({}); nothing is sent to it",
            suppression.reason
        )));
    }
    let mut queued = Vec::new();
    for proof in proofs {
        let delivery = proof::queue(&mut tx, proof, &to, person.map(|person| person.id), now).await?;
        queued.push(Queued { delivery, tier: proof.tier.as_str(), address: to.as_str() });
    }
    audit::record(&mut tx, now, "cli", "edition preview", &args.edition, &format!("to {to}")).await?;
    let alive = owners::alive(&mut tx, lease::silence_before(now)).await?;
    tx.commit().await?;
    if context.output.json {
        return context.output.document(&queued);
    }
    for Queued { delivery, tier, address } in queued {
        context.output.line(format!("queued for {address}: the mail of {tier} (delivery {delivery})"));
    }
    if alive == 0 {
        context.output.line("No daemon is running; it leaves when one is.");
    }
    Ok(())
}

fn side_by_side(
    context: &Context,
    folder: &Path,
    setup: &Setup,
    slug: &str,
    mails: Vec<Previewed>,
) -> Result<(), Failure> {
    let mut shown = Vec::new();
    for mail in mails {
        write(context, folder, slug, &mail)?;
        let label = setup.content.publication.tier(&mail.tier).map(|tier| tier.label.clone());
        shown.push(Shown {
            tier: mail.tier.to_string(),
            caption: label.unwrap_or_default(),
            bytes: mail.eml.len(),
            eml: format!("{slug}-{}.eml", mail.tier),
            subject: mail.subject,
            html: mail.html,
            text: mail.text,
        });
    }
    let title = format!("{}: what each tier will get of {slug}", setup.content.publication.name);
    gallery::write(folder, setup, &title, &shown, None)
        .map_err(|error| Failure::No(format!("{}: {error}", folder.display())))?;
    context.output.line(folder.join("index.html").display());
    Ok(())
}

fn write(context: &Context, folder: &Path, slug: &str, mail: &Previewed) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::No(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let forms = [("eml", mail.eml.as_slice()), ("html", mail.html.as_bytes()), ("txt", mail.text.as_bytes())];
    for (extension, bytes) in forms {
        // Not `with_extension`: a slug may hold a dot.
        let path = folder.join(format!("{slug}-{}.{extension}", mail.tier));
        std::fs::write(&path, bytes).map_err(failed)?;
        context.output.line(path.display());
    }
    Ok(())
}

/// One mail in all its forms.
struct Previewed {
    tier: TierId,
    subject: String,
    text: String,
    html: String,
    eml: Vec<u8>,
}

fn previewed(setup: &Setup, proof: &Proof, person: Option<&Subscriber>) -> Result<Previewed, Failure> {
    let recipient = recipient(setup, proof, person);
    let compiled =
        Compiled::new(&proof.frame, &proof.body).map_err(|problem| Failure::No(problem.to_string()))?;
    let mut eml = Vec::new();
    compiled
        .compose(&setup.keyring, &recipient, &mut eml)
        .map_err(|problem| Failure::No(problem.to_string()))?;
    let sample = Sample {
        name: &recipient.name,
        address: recipient.address.as_str(),
        tier_label: &recipient.tier_label,
        term_ends: &recipient.term_ends,
    };
    let values = proof::values(&setup.content.publication, &proof.frame, &sample);
    let body = &proof.body;
    Ok(Previewed {
        tier: proof.tier.clone(),
        subject: fill(&body.subject, &values),
        text: fill(&body.text, &values),
        html: fill(&body.html, &values),
        eml,
    })
}

fn recipient(setup: &Setup, proof: &Proof, person: Option<&Subscriber>) -> Recipient {
    let (tier, proof_of) = (&proof.tier, proof.edition);
    let publication = &setup.content.publication;
    let sample = || Address::trusted("reader@example.org".into());
    let term_ends = person.and_then(|person| person.term_ends_at);
    Recipient {
        delivery: NOBODY,
        subscriber: NOBODY,
        thread: 0,
        staff: 0,
        proof_of,
        address: person.map_or_else(sample, |person| person.address.clone()),
        name: person.map_or(SAMPLE_NAME, |person| person.name.as_str()).to_owned(),
        tier_label: publication.tier(tier).map(|tier| tier.label.clone()).unwrap_or_default(),
        term_ends: term_ends.map(|at| publication.date(at, "%-d %B %Y")).unwrap_or_default(),
        key_id: setup.keyring.current_key_id(),
        first_attempt_at: SystemClock.now(),
    }
}
