//! The mathematics of the paper, in f64 on nalgebra, with randomness handed in as a seeded generator.
//!
//! `math` never sees a tensor, a text, a row or a socket, and imports no other room.
