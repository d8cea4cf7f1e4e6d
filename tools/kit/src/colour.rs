//! Colours output on a terminal, unless NO_COLOR is set.

use std::io::IsTerminal;
use std::sync::LazyLock;

#[derive(Clone, Copy)]
pub enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Blue = 34,
    Magenta = 35,
    Cyan = 36,
}

static SHOWN: LazyLock<bool> = LazyLock::new(|| {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stdout().is_terminal()
});

pub fn paint(colour: Colour, text: &str) -> String {
    match *SHOWN {
        true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        false => text.to_owned(),
    }
}
