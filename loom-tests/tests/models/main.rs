//! The models: under `--cfg asyncserver_loom` in every interleaving, otherwise
//! on threads. See the package's README.

mod cancel;
mod tasks;
