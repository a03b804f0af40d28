//! Layer 0: what every other layer may lean on. The clock, shutdown, telemetry and the masking of addresses.
//!
//! Nothing above this module reads the system clock or writes an address into a log unmasked.

pub mod clock;
pub mod redact;
pub mod shutdown;
pub mod telemetry;

pub use clock::{Clock, SystemClock, Timestamp};
pub use redact::{Masked, MaskedText};
pub use shutdown::Shutdown;
