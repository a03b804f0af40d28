//! `tidings preview`: the very mail that one tier will get, or all of them side by side, before anybody does.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Context;
use crate::app::gallery::{self, Shown};
use crate::app::{Failure, Setup};
use crate::domain::address::Address;
use crate::domain::body::{Field, Values, fill};
use crate::domain::publication::{PlannedEdition, TierId};
use crate::mail::compose::{Compiled, Recipient};
use crate::runtime::{Clock, SystemClock};
use crate::store::{Store, people};

#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The slug of a configured edition.
    edition: String,
    /// Without it: all tiers, as files in --out and side by side in its index.html.
    #[arg(long, required_unless_present = "out")]
    tier: Option<String>,
    /// Fills in a subscriber's own name and term; without it, a sample reader's.
    #[arg(long = "as", value_name = "ADDRESS")]
    as_address: Option<String>,
    /// Writes EDITION-TIER.eml, .html and .txt there; without it, the text part is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Renders from the files as they are now. The bytes are those that will be sent but for Date, ids, tokens and boundary.
pub async fn preview(context: &Context, args: &PreviewArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let publication = &setup.content.publication;
    let edition =
        publication.editions.iter().find(|edition| edition.slug == args.edition).ok_or_else(|| {
            let slugs: Vec<&str> = publication.editions.iter().map(|edition| edition.slug.as_str()).collect();
            Failure::Usage(format!(
                "there is no edition `{}`; editions are {}",
                args.edition,
                slugs.join(", ")
            ))
        })?;
    let Some(tier) = &args.tier else { return all_tiers(context, args, &setup, edition).await };
    let tier = TierId::from(tier.as_str());
    if !edition.tiers.contains(&tier) {
        let tiers: Vec<&str> = edition.tiers.iter().map(TierId::as_str).collect();
        return Err(Failure::Usage(format!("`{tier}` gets nothing of it; tiers are {}", tiers.join(", "))));
    }
    let mail = warned(&setup, edition, &tier, args).await?;
    match &args.out {
        None => context.output.line(format!("Subject: {}\n\n{}", mail.subject, mail.text)),
        Some(folder) => write(context, folder, &format!("{}-{tier}", edition.slug), &mail)?,
    }
    Ok(())
}

async fn all_tiers(
    context: &Context,
    args: &PreviewArgs,
    setup: &Setup,
    edition: &PlannedEdition,
) -> Result<(), Failure> {
    let folder = args.out.as_deref().ok_or_else(|| Failure::Usage("name --tier or --out".into()))?;
    let mut shown = Vec::new();
    for tier in &edition.tiers {
        let mail = warned(setup, edition, tier, args).await?;
        let base = format!("{}-{tier}", edition.slug);
        write(context, folder, &base, &mail)?;
        let label = setup.content.publication.tier(tier).map(|tier| tier.label.clone());
        shown.push(Shown {
            tier: tier.to_string(),
            caption: label.unwrap_or_default(),
            bytes: mail.eml.len(),
            eml: format!("{base}.eml"),
            subject: mail.subject,
            html: mail.html,
            text: mail.text,
        });
    }
    let title = format!("{}: what each tier will get of {}", setup.content.publication.name, edition.slug);
    gallery::write(folder, setup, &title, &shown, None)
        .map_err(|error| Failure::No(format!("{}: {error}", folder.display())))?;
    context.output.line(folder.join("index.html").display());
    Ok(())
}

/// Renders, and tells warnings.
async fn warned(
    setup: &Setup,
    edition: &PlannedEdition,
    tier: &TierId,
    args: &PreviewArgs,
) -> Result<Previewed, Failure> {
    let recipient = recipient(setup, args, tier).await?;
    let mail = previewed(setup, edition, tier, &recipient)?;
    for warning in &mail.warnings {
        eprintln!("tidings: {warning}");
    }
    Ok(mail)
}

fn write(context: &Context, folder: &Path, base: &str, mail: &Previewed) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::No(format!("{}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let forms = [("eml", mail.eml.as_slice()), ("html", mail.html.as_bytes()), ("txt", mail.text.as_bytes())];
    for (extension, bytes) in forms {
        // Not `with_extension`: a slug may hold a dot.
        let path = folder.join(format!("{base}.{extension}"));
        std::fs::write(&path, bytes).map_err(failed)?;
        context.output.line(path.display());
    }
    Ok(())
}

/// One mail in all its forms.
pub struct Previewed {
    pub subject: String,
    pub text: String,
    pub html: String,
    pub eml: Vec<u8>,
    pub warnings: Vec<String>,
}

/// Renders one tier's mail for one recipient.
pub fn previewed(
    setup: &Setup,
    edition: &PlannedEdition,
    tier: &TierId,
    recipient: &Recipient,
) -> Result<Previewed, Failure> {
    let (body, warnings) =
        setup.content.render(edition, tier, 1).map_err(|problems| Failure::problems(&problems))?;
    let compiled =
        Compiled::new(&setup.edition_frame(), &body).map_err(|problem| Failure::No(problem.to_string()))?;
    let mut eml = Vec::new();
    compiled
        .compose(&setup.keyring, recipient, &mut eml)
        .map_err(|problem| Failure::No(problem.to_string()))?;
    let url = &setup.content.publication.url;
    let mut values = Values::default();
    values
        .set(Field::SubscriberName, recipient.name.as_str())
        .set(Field::SubscriberAddress, recipient.address.as_str())
        .set(Field::SubscriberTierLabel, recipient.tier_label.as_str())
        .set(Field::SubscriberTermEnds, recipient.term_ends.as_str())
        .set(Field::LinkUnsubscribe, format!("{url}/u/preview"))
        .set(Field::LinkPreferences, format!("{url}/p/preview"))
        .set(Field::LinkView, format!("{url}/v/preview"))
        .set(Field::LinkArchive, format!("{url}/archive"))
        .set(Field::LinkUpgrade, setup.content.publication.upgrade_url.as_deref().unwrap_or(""));
    Ok(Previewed {
        subject: fill(&body.subject, &values),
        text: fill(&body.text, &values),
        html: fill(&body.html, &values),
        eml,
        warnings: warnings.iter().map(ToString::to_string).collect(),
    })
}

async fn recipient(setup: &Setup, args: &PreviewArgs, tier: &TierId) -> Result<Recipient, Failure> {
    let publication = &setup.content.publication;
    let mut recipient = Recipient {
        // Any but 0: what belongs to no delivery has no link to view it.
        delivery: 1,
        subscriber: 1,
        thread: 0,
        staff: 0,
        address: Address::trusted("reader@example.org".into()),
        name: "Sample Reader".into(),
        tier_label: publication.tier(tier).map(|tier| tier.label.clone()).unwrap_or_default(),
        term_ends: String::new(),
        key_id: setup.keyring.current_key_id(),
        first_attempt_at: SystemClock.now(),
    };
    let Some(text) = &args.as_address else { return Ok(recipient) };
    let address = Address::parse(text)
        .map_err(|problem| Failure::Usage(format!("`{text}` is not an address: {problem}")))?;
    let store = Store::open(&setup.settings.storage).await?;
    let person = people::by_key(&mut store.read().await?, &address.key()).await?;
    store.close().await;
    let person = person.ok_or_else(|| Failure::No(format!("there is no subscriber {address}")))?;
    recipient.subscriber = person.id;
    recipient.address = person.address;
    recipient.name = person.name;
    recipient.term_ends = person.term_ends_at.map(|at| publication.date(at, "%-d %B %Y")).unwrap_or_default();
    Ok(recipient)
}
