//! Printing that does not mind when its reader has gone, as in `saga status | head`.

/// Like `println!`, which would panic then.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($text)*).ok();
    }};
}
