//! Replaces what varies in a text by what it is.
