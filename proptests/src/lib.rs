//! draft
mod config; mod hex; mod history; mod op; mod report; mod request; mod tasks; pub mod strategy;
pub use config::*; pub use hex::Hex; pub use history::*; pub use op::*; pub use report::*; pub use request::*; pub use tasks::*;
