//! Backbones, reward head, artifacts and the resident model thread, on candle.
//!
//! `model` never sees a user, a row or a socket.
