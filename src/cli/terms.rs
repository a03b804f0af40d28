//! `tidings subscribers set-tier`: how a purchase and a renewal arrive by hand.
//!
//! A term starts now unless `--starts` says otherwise, because extras are counted per term. It ends where `--ends` says, else
//! after the tier's own term, else never. `--ends` alone, for somebody who keeps their tier, is what a shop would tell: a renewal
//! or a correction, by the rule of `domain::term`.

use clap::Args;

use super::Context;
use super::people::{address, known_tier, not_there};
use crate::app::Failure;
use crate::domain::publication::Publication;
use crate::domain::subscriber::Subscriber;
use crate::domain::term::{self, Known};
use crate::import::moment;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::{Store, audit, held_people, people};

#[derive(Debug, Args)]
pub struct SetTierArgs {
    address: String,
    tier: String,
    /// When the term ends: a date, which means its start in UTC, or an RFC 3339 time. Without it the tier's term is counted.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    ends: Option<Timestamp>,
    /// When the term starts. Without it: now; or, where the tier stays and only its end is told, where the old term ended if
    /// that renews it, and when it did if the new end is less than half a term later.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    starts: Option<Timestamp>,
}

pub async fn set_tier(context: &Context, args: &SetTierArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let address = address(&args.address)?;
    let now = SystemClock.now();
    let tier = known_tier(&setup.content.publication, &args.tier)?;
    let store = Store::open(&setup.settings.storage).await?;
    let mut tx = store.write().await?;
    let person = held_people::by_key(&mut tx, &address.key()).await?.ok_or_else(|| not_there(&address))?;
    let (starts, ends) = term(args, &setup.content.publication, &person, now)?;
    people::set_tier(&mut tx, person.id, &tier, (starts, ends), now).await?;
    let starts = starts.map_or("the day of their entry".to_owned(), |starts| starts.to_string());
    let until = ends.map_or("without an end".to_owned(), |ends| format!("until {ends}"));
    let detail = format!("{} -> {tier} from {starts} {until}", person.tier);
    audit::record(&mut tx, now, "cli", "subscriber set-tier", &address.key(), &detail).await?;
    tx.commit().await?;
    store.close().await;
    context.output.line(format!("{} is {tier} from {starts} {until}", person.address));
    Ok(())
}

fn term(
    args: &SetTierArgs,
    publication: &Publication,
    person: &Subscriber,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Failure> {
    let tier = known_tier(publication, &args.tier)?;
    let own = publication.tier(&tier).and_then(|tier| tier.term);
    let starts = match (args.starts, args.ends) {
        (None, Some(ends)) if tier == person.tier => {
            let known = Known { started_at: person.term_started_at, ends_at: person.term_ends_at };
            term::begins(known, ends, own, now)
        }
        (starts, _) => Some(starts.unwrap_or(now)),
    };
    let ends = args.ends.or_else(|| own.map(|term| term.end(starts.unwrap_or(now))));
    match (starts, ends) {
        (Some(starts), Some(ends)) if ends <= starts => {
            Err(Failure::Usage(format!("the term would end at {ends}, before it starts at {starts}")))
        }
        _ => Ok((starts, ends)),
    }
}
