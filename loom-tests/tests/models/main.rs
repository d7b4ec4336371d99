//! The models: under `--cfg asyncserver_loom` in every interleaving, otherwise
//! on threads. See the package's README.

/// Each test explores the function of its own name.
macro_rules! models {
    ($($threads:ident: $($name:ident),+;)+) => {$($(
        #[test]
        fn $name() {
            use asyncserver_loom_tests::shim;
            shim::explore(stringify!($name), shim::Threads::$threads, super::$name);
        }
    )+)+};
}

mod cancel;
mod end;
mod limits;
mod run;
mod serve;
mod tasks;
mod watch;
