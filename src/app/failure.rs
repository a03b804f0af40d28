//! Why a command did not do what it was asked, with the exit code that scripts rely on.

use std::fmt::Display;
use std::process::ExitCode;

use super::StartProblem;
use crate::domain::problem::Problem;
use crate::store::StoreError;

/// Why a command did not do what it was asked. Each kind has its exit code (sysexits where there is one).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// 1: the answer is no.
    #[error("{0}")]
    No(String),
    /// 1: as `No`, and everything has been printed.
    #[error("")]
    Printed,
    /// 2: asked in a way that cannot be answered.
    #[error("{0}")]
    Usage(String),
    /// 69: a peer or the database is unreachable.
    #[error("{0}")]
    Unreachable(String),
    /// 70: our own fault.
    #[error("{0}")]
    Ours(String),
    /// 75: later it will work.
    #[error("{0}")]
    TryAgain(String),
    /// 78: the config, or a schema that does not fit.
    #[error("{0}")]
    Config(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Failure::No(_) | Failure::Printed => 1,
            Failure::Usage(_) => 2,
            Failure::Unreachable(_) => 69,
            Failure::Ours(_) => 70,
            Failure::TryAgain(_) => 75,
            Failure::Config(_) => 78,
        }
    }

    /// Prints the failure and answers its code.
    pub fn report(&self) -> ExitCode {
        let text = self.to_string();
        if !text.is_empty() {
            eprintln!("tidings: {text}");
        }
        ExitCode::from(self.code())
    }

    /// All problems, one a line.
    pub fn problems(problems: &[Problem]) -> Failure {
        let list: Vec<String> =
            problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
        Failure::Config(format!("the config does not check\n{}", list.join("\n")))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let text = error.to_string();
        match error {
            _ if error.is_about_the_login() => Failure::Config(text),
            StoreError::NewerSchema { .. } | StoreError::OlderSchema { .. } => Failure::Config(text),
            StoreError::Locked(_) => Failure::TryAgain(text),
            StoreError::File { .. } | StoreError::ReadOnly { .. } | StoreError::Gone(_) => {
                Failure::Unreachable(text)
            }
            StoreError::Sql(sqlx_error) if is_away(&sqlx_error) => Failure::Unreachable(text),
            _ => Failure::Ours(text),
        }
    }
}

fn is_away(error: &impl Display) -> bool {
    let text = error.to_string();
    ["connect", "refused", "timed out", "unable to open", "No such file"]
        .iter()
        .any(|sign| text.contains(sign))
}

impl From<StartProblem> for Failure {
    fn from(problem: StartProblem) -> Failure {
        match problem {
            StartProblem::Store(error) => error.into(),
            StartProblem::Listen { .. } | StartProblem::Pages { .. } => {
                Failure::Unreachable(problem.to_string())
            }
            StartProblem::NotAlone => Failure::TryAgain(problem.to_string()),
            StartProblem::Ticker(_) | StartProblem::Signals(_) => Failure::Ours(problem.to_string()),
        }
    }
}
