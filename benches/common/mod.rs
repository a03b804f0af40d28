//! What the benches share: sizes, rounds, medians, tables, and the operating system's accounting of this process.
//!
//! Every figure is a median of rounds in which the compared things take turns, and every comparison is a ratio of one run:
//! absolute times of two days say nothing. `cargo bench --bench NAME -- [SIZE] [--strict]`; `BENCH_SIZE` and `BENCH_ROUNDS` do the
//! same. With `--strict` a missed budget is exit code 1.
#![allow(dead_code, reason = "each bench uses its part")]

pub mod sending;
pub mod world;

use std::process::ExitCode;
use std::time::Instant;

/// The first number on the command line, else `BENCH_SIZE`, else `default`.
pub fn size(default: usize) -> usize {
    let argument = std::env::args().skip(1).find_map(|text| text.parse().ok());
    argument.or_else(|| number("BENCH_SIZE")).unwrap_or(default)
}

pub fn rounds(default: usize) -> usize {
    number("BENCH_ROUNDS").unwrap_or(default)
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// The median of `a / b`, round by round.
pub fn ratio(a: &[f64], b: &[f64]) -> f64 {
    median(&a.iter().zip(b).map(|(a, b)| a / b).collect::<Vec<_>>())
}

/// Seconds that `f` takes.
pub fn seconds<T>(f: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(f());
    start.elapsed().as_secs_f64()
}

/// Microseconds a call of `f`, over enough calls to last about `millis`.
pub fn micros<T>(millis: u32, mut f: impl FnMut() -> T) -> f64 {
    let mut count = 1_u32;
    loop {
        let taken = seconds(|| {
            for _ in 0..count {
                std::hint::black_box(f());
            }
        });
        if taken * 1e3 >= f64::from(millis) {
            return taken * 1e6 / f64::from(count);
        }
        count *= 2;
    }
}

/// User and system seconds so far, of this process or of its children that have ended.
pub fn cpu(who: libc::c_int) -> f64 {
    // SAFETY: getrusage fills the struct that it is given, for which all zeroes are valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(who, &raw mut usage);
        usage
    };
    let time = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// Peak resident megabytes since the start or the last [`reset_peak`]; NaN where the system does not tell.
pub fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kb.map_or(f64::NAN, |kb| kb / 1024.0)
}

pub fn reset_peak() {
    // Linux only; elsewhere the peak is that of the whole run.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The runtime of the daemon.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// What is printed, and whether the budgets are kept.
#[derive(Default)]
pub struct Report {
    missed: usize,
}

impl Report {
    pub fn new(title: &str) -> Report {
        println!("{title}");
        Report::default()
    }

    pub fn figure(&self, name: &str, value: f64, unit: &str) {
        let digits = if value.abs() >= 100.0 { 0 } else { 2 };
        println!("  {name:<58} {value:>12.digits$} {unit}");
    }

    pub fn ratio(&self, name: &str, value: f64) {
        println!("  {name:<58} {value:>12.2} x");
    }

    pub fn at_most(&mut self, name: &str, value: f64, budget: f64) {
        self.budget(name, value, value <= budget, &format!("at most {budget}"));
    }

    pub fn at_least(&mut self, name: &str, value: f64, budget: f64) {
        self.budget(name, value, value >= budget, &format!("at least {budget}"));
    }

    fn budget(&mut self, name: &str, value: f64, kept: bool, words: &str) {
        self.missed += usize::from(!kept);
        println!("  {name:<58} {value:>12.2} x   {words}: {}", if kept { "kept" } else { "MISSED" });
    }

    pub fn finish(self) -> ExitCode {
        let strict = std::env::args().any(|argument| argument == "--strict");
        if strict && self.missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}
