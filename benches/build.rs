//! Makes the code of the tonic service, without a compiler of protocol buffers.

fn main() {}
