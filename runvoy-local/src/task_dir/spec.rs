use std::io::{self, Write};

use runvoy_task::TaskSpec;
use zeroize::{Zeroize, Zeroizing};

/// A spec as its agent reads it. Its memory is wiped when it is dropped; that of the values in the spec is by then.
pub(crate) fn encode(mut spec: TaskSpec) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    // A vector that grows leaves copies behind.
    let mut length = Length(0);
    serde_json::to_writer(&mut length, &spec)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    let written = serde_json::to_writer(&mut *bytes, &spec);
    spec.mask.iter_mut().chain(spec.env.values_mut()).for_each(Zeroize::zeroize);
    written.map(|()| bytes)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
