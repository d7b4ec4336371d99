//! What faults make of bytes: for whoever judges each end by what has come to it.

use super::Pipe;

/// What became of the last write, and what the last read had been.
#[derive(Debug, Default)]
pub(super) struct Altered {
    /// What set out of the last write; `None`: all of it, as it was.
    pub(super) set_out: Option<Vec<u8>>,
    /// What had been written of that which was read last; `None`: the same.
    pub(super) written: Option<Vec<u8>>,
    history: Past,
}

/// Whether bytes were ever changed: a faithful direction does not keep them twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Past {
    #[default]
    Faithful,
    Altering,
}

impl Altered {
    /// Notes what sets out of a write; what was written, if it is something else.
    pub(super) fn note(&mut self, written: &[u8], out: &[u8]) -> Option<Vec<u8>> {
        let differs = written != out;
        if differs {
            self.history = Past::Altering;
        }
        self.set_out = differs.then(|| out.to_vec());
        differs.then(|| written.to_vec())
    }

    /// A read begins.
    pub(super) fn begin_read(&mut self) {
        let alters = self.history == Past::Altering;
        self.written = alters.then(Vec::new);
    }

    /// A piece is read, and was written as this.
    pub(super) fn read(&mut self, written: &[u8]) {
        if let Some(all) = &mut self.written {
            all.extend_from_slice(written);
        }
    }
}

impl Pipe {
    /// What set out of the last write, where that is something else than was written.
    pub(crate) fn set_out(&self) -> Option<&[u8]> {
        self.altered.set_out.as_deref()
    }

    /// What the last read was when it was written, as far as the direction knows.
    pub(crate) fn read_as_written(&self) -> Option<&[u8]> {
        self.altered.written.as_deref()
    }
}
