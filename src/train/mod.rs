//! The offline half (§4.1): preference files → embeddings → factorization → artifact.
//!
//! Synchronous; progress goes to an observer. `train` never sees a database or a socket.
