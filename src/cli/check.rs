//! `tidings check`.

use serde::Serialize;

use super::Context;
use crate::app::{Failure, Setup};
use crate::config::process_environment;
use crate::domain::problem::Problem;

#[derive(Serialize)]
struct Checked<'a> {
    problems: &'a [Problem],
}

/// Prints all problems of config, articles and templates. Touches nothing.
pub fn check(context: &Context) -> Result<(), Failure> {
    let (setup, problems) = Setup::load(&context.config, &process_environment(), &context.flags);
    if context.output.json {
        context.output.document(&Checked { problems: &problems })?;
    } else {
        for problem in &problems {
            context.output.line(problem);
        }
        let errors = problems.iter().filter(|problem| problem.is_error()).count();
        let warnings = problems.len() - errors;
        match &setup {
            Some(setup) => {
                let publication = &setup.content.publication;
                context.output.line(format!(
                    "{}: {} tiers, {} articles, {} editions; {warnings} warnings",
                    publication.name,
                    publication.tiers.len(),
                    setup.content.articles.len(),
                    publication.editions.len(),
                ));
            }
            None => context.output.line(format!("{errors} errors, {warnings} warnings")),
        }
    }
    if setup.is_some() { Ok(()) } else { Err(Failure::Printed) }
}
