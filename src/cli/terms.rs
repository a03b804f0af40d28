//! `tidings subscribers set-tier`: how a purchase and a renewal arrive by hand.
//!
//! A term starts now unless `--starts` says otherwise, because extras are counted per term. It ends where `--ends` says, else
//! after the tier's own term, else never.

use clap::Args;

use super::Context;
use super::people::{address, known_tier, not_there};
use crate::app::Failure;
use crate::domain::publication::Publication;
use crate::import::moment;
use crate::runtime::{Clock, SystemClock, Timestamp};
use crate::store::{Store, audit, people};

#[derive(Debug, Args)]
pub struct SetTierArgs {
    address: String,
    tier: String,
    /// When the term ends: a date, which means its start in UTC, or an RFC 3339 time. Without it the tier's term is counted.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    ends: Option<Timestamp>,
    /// When the term starts; now without it.
    #[arg(long, value_name = "DATE", value_parser = moment)]
    starts: Option<Timestamp>,
}

pub async fn set_tier(context: &Context, args: &SetTierArgs) -> Result<(), Failure> {
    let setup = context.setup()?;
    let address = address(&args.address)?;
    let now = SystemClock.now();
    let (starts, ends) = term(args, &setup.content.publication, now)?;
    let tier = known_tier(&setup.content.publication, &args.tier)?;
    let store = Store::open(&setup.settings.storage).await?;
    let mut tx = store.write().await?;
    let person = people::by_key(&mut tx, &address.key()).await?.ok_or_else(|| not_there(&address))?;
    people::set_tier(&mut tx, person.id, &tier, (Some(starts), ends), now).await?;
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
    now: Timestamp,
) -> Result<(Timestamp, Option<Timestamp>), Failure> {
    let tier = known_tier(publication, &args.tier)?;
    let starts = args.starts.unwrap_or(now);
    let own = publication.tier(&tier).and_then(|tier| tier.term);
    let ends = args.ends.or_else(|| own.map(|term| term.end(starts)));
    match ends {
        Some(ends) if ends <= starts => {
            Err(Failure::Usage(format!("the term would end at {ends}, before it starts at {starts}")))
        }
        _ => Ok((starts, ends)),
    }
}
