//! Exports the functions that the page calls: it writes a request to `input`, calls `answer`, and
//! reads `output`.

use crate::System;
use std::cell::RefCell;

#[derive(Default)]
struct Playground {
    system: System,
    input: Vec<u8>,
    output: String,
}

thread_local! {
    static PLAYGROUND: RefCell<Playground> = RefCell::default();
}

/// Where the page writes so many bytes.
#[expect(unsafe_code, reason = "the page knows it by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn input(length: usize) -> *mut u8 {
    PLAYGROUND.with_borrow_mut(|it| {
        it.input = vec![0; length];
        it.input.as_mut_ptr()
    })
}

/// The length of the answer.
#[expect(unsafe_code, reason = "the page knows it by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn answer() -> usize {
    PLAYGROUND.with_borrow_mut(|it| {
        let request = String::from_utf8_lossy(&it.input);
        it.output = it.system.answer(&request).to_string();
        it.output.len()
    })
}

#[expect(unsafe_code, reason = "the page knows it by this name")]
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    PLAYGROUND.with_borrow(|it| it.output.as_ptr())
}

/// The operating system's random numbers, of which a browser has none: nothing here asks for one.
#[expect(unsafe_code, reason = "getrandom knows it by this name")]
#[unsafe(no_mangle)]
extern "Rust" fn __getrandom_v03_custom(_: *mut u8, _: usize) -> Result<(), getrandom::Error> {
    Err(getrandom::Error::UNSUPPORTED)
}
