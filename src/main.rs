//! Flags in, exit code out.

fn main() -> std::process::ExitCode {
    tidings::cli::main()
}
