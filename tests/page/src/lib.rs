//! Tests the live page as a person sees it: a headless Chromium beside a fleet of the real
//! services.

pub mod axe;
mod browser;
mod play;
mod stage;
mod tab;

pub use browser::Browser;
pub use play::Play;
pub use stage::Stage;
pub use tab::Tab;
