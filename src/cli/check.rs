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
                    "{}: {}, {}, {}, {}; {}",
                    publication.name,
                    counted(publication.tiers.len(), "tier"),
                    counted(setup.content.articles.len(), "article"),
                    counted(publication.slots.len(), "slot"),
                    counted(publication.editions.len(), "one-off edition"),
                    counted(warnings, "warning"),
                ));
            }
            None => {
                let line = format!("{}, {}", counted(errors, "error"), counted(warnings, "warning"));
                context.output.line(line);
            }
        }
    }
    if setup.is_some() { Ok(()) } else { Err(Failure::Printed) }
}

fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}
