//! Layer 3: receiving.
