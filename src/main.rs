//! Layer 6: flags in, exit code out.

fn main() {}
