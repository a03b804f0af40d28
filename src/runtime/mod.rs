//! Layer 0: what every other layer may lean on. The clock, shutdown, telemetry, signs of life, the masking of
//! addresses, and whom TLS trusts.
//!
//! Nothing above this module reads the system clock or writes an address into a log unmasked.

pub mod clock;
pub mod disk;
pub mod init_system;
pub mod redact;
pub mod short_wait;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod vitals;

pub use clock::{Clock, SystemClock, Timestamp};
pub use redact::{Masked, MaskedText};
pub use short_wait::ShortWait;
pub use shutdown::Shutdown;
pub use vitals::{Pulse, Vitals};
