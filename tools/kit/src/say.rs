//! Prints without failing when the reader has closed the pipe, as in `saga status | head`.

/// Like `println!`, which would panic then.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*).ok();
    }};
}
