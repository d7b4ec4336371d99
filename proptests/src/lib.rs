//! What the library is held against: models that a reader can check beside
//! PROTOCOL, and the suites that compare them with the code.

pub mod model;
