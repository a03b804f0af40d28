//! `tidings doctor`: looks at everything that decides whether mail arrives, and says what repairs it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Context;
use crate::app::{Failure, Setup};
use crate::config;
use crate::domain::address::Address;
use crate::domain::doctor::{Check, Status};
use crate::domain::problem::Problem;
use crate::runtime::{Clock, SystemClock};
use crate::store::deliveries::DeliveryRow;
use crate::store::{Store, StoreError};
use crate::tasks::doctor::test_mail::{self, TestProblem};
use crate::tasks::doctor::{self, Patient, received};
use crate::tasks::{lease, restore};

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Sends one signed mail of an edition there, through the queue like every other, and says what the relay answered.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "received")]
    send_test: Option<String>,
    /// How long to wait for the relay's answer to it, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", requires = "send_test")]
    wait: u64,
    /// Checks the signatures of a mail as it arrived: its source, saved from a mailbox.
    #[arg(long, value_name = "FILE")]
    received: Option<PathBuf>,
}

/// How often the store is asked what became of the test mail.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub async fn doctor(context: &Context, args: &DoctorArgs) -> Result<(), Failure> {
    let (setup, warnings) = context.load();
    let setup = setup.ok_or_else(|| Failure::problems(&warnings))?;
    let checks = match (&args.received, &args.send_test) {
        (Some(file), _) => as_received(&setup, file).await?,
        (None, Some(to)) => sent(&setup, to, Duration::from_secs(args.wait)).await?,
        (None, None) => examined(&setup, &warnings).await,
    };
    if context.output.json {
        context.output.document(&checks)?;
    } else {
        print(context, &checks);
    }
    answer(&checks)
}

async fn examined(setup: &Setup, warnings: &[Problem]) -> Vec<Check> {
    let store = Store::open(&setup.settings.storage).await;
    let patient = Patient {
        settings: &setup.settings,
        publication: &setup.content.publication,
        signer: setup.signer.as_deref(),
        keyring: &setup.keyring,
        warnings,
        store: store.as_ref(),
        providers: config::providers::built_in(),
        clock: &SystemClock,
    };
    let checks = doctor::examine(&patient).await;
    if let Ok(store) = &store {
        store.close().await;
    }
    checks
}

async fn as_received(setup: &Setup, file: &std::path::Path) -> Result<Vec<Check>, Failure> {
    let place = file.display().to_string();
    let raw = tokio::fs::read(file).await.map_err(|error| Failure::Usage(format!("{place}: {error}")))?;
    let resolver = setup.settings.intake.resolver;
    let mut checks = received::look(raw, &place, setup.signer.as_deref(), resolver).await;
    config::providers::built_in().name_codes(&mut checks);
    Ok(checks)
}

async fn sent(setup: &Setup, to: &str, patience: Duration) -> Result<Vec<Check>, Failure> {
    let to = Address::parse(to)
        .map_err(|problem| Failure::Usage(format!("`{to}` is not an address: {problem}")))?;
    let settings = &setup.settings;
    let editors = setup.content.publication.editors.iter();
    let staff = settings.desk.staff.iter().map(|member| &member.email);
    let of_house = editors.chain(&settings.operators).chain(staff).any(|known| known.key() == to.key());
    let store = restore::open(&settings.storage, SystemClock.now()).await?;
    let queued =
        test_mail::queue(&store, &setup.content, &setup.edition_frame(), (&to, of_house), SystemClock.now())
            .await;
    let (delivery, _) = queued.map_err(|problem| match problem {
        TestProblem::Store(error) => error.into(),
        TestProblem::No(why) => Failure::No(why),
    })?;
    let check = followed(&store, delivery, patience).await;
    store.close().await;
    Ok(vec![check?])
}

/// Waits until the relay has answered, or for as long as somebody wants to.
async fn followed(store: &Store, delivery: i64, patience: Duration) -> Result<Check, Failure> {
    let settled = async {
        loop {
            let (row, lives) = state(store, delivery).await?;
            if !lives || !test_mail::is_open(&row) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    if let Ok(Err(failure)) = tokio::time::timeout(patience, settled).await {
        return Err(failure);
    }
    let (row, lives) = state(store, delivery).await?;
    Ok(test_mail::told(&row, lives))
}

/// Where the mail is, and whether somebody is there to send it.
async fn state(store: &Store, delivery: i64) -> Result<(DeliveryRow, bool), Failure> {
    let lives = lease::living(store, SystemClock.now()).await? > 0;
    let gone = || StoreError::Corrupt { what: "a test mail", why: "its row is gone".to_owned() };
    Ok((test_mail::progress(store, delivery).await?.ok_or_else(gone)?, lives))
}

/// Findings first and whole, then one line for each that is well.
fn print(context: &Context, checks: &[Check]) {
    let (findings, others): (Vec<_>, Vec<_>) = checks.iter().partition(|check| check.is_finding());
    for check in &findings {
        context.output.line(format!("{:<8}{:<6}{}", check.status.as_str(), check.id, check.place));
        let codes = check.codes.join("; ");
        let parts = [
            ("found", &check.found),
            ("expected", &check.expected),
            ("fix", &check.fix),
            ("providers", &codes),
        ];
        for (name, text) in parts.into_iter().filter(|(_, text)| !text.is_empty()) {
            context.output.line(format!("        {name}: {}", text.replace('\n', "\n          ")));
        }
        context.output.line("");
    }
    for check in others {
        let line = format!("{:<8}{:<6}{}: {}", check.status.as_str(), check.id, check.place, check.found);
        context.output.line(line);
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    context.output.line(format!(
        "{} failed, {} warnings, {} not known, {} well, {} skipped",
        count(Status::Fail),
        count(Status::Warn),
        count(Status::Unknown),
        count(Status::Ok),
        count(Status::Skipped),
    ));
}

/// 1: something is wrong; 69: nothing is known to be wrong, and not everything could be found out (W77).
fn answer(checks: &[Check]) -> Result<(), Failure> {
    let any = |status| checks.iter().any(|check| check.status == status);
    if any(Status::Fail) {
        return Err(Failure::Printed);
    }
    match checks.iter().find(|check| check.status == Status::Unknown) {
        Some(first) => {
            Err(Failure::Unreachable(format!("{}: not everything could be found out", first.place)))
        }
        None => Ok(()),
    }
}
