//! Layer 2: other vendors' files.
