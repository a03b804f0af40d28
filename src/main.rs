//! Flags in, exit code out.

fn main() -> std::process::ExitCode {
    tidings::cli::main(|keep, json| async move { tidings::demo::run(keep.as_deref(), json).await })
}
