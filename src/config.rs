//! Settings of the server: every one has a flag, an environment name and a doc comment.
