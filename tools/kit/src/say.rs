//! Prints as `println!` does, by [`crate::output`].

/// Does not panic where the line cannot be written.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
