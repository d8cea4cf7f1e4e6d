//! Tests the live page as a person sees it: a headless Chromium beside a fleet of the real
//! services.

mod browser;
mod stage;
mod tab;

pub use browser::Browser;
pub use stage::Stage;
pub use tab::Tab;
