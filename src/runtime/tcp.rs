//! Production TCP.
