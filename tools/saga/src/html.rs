//! What the pages have in common that this command writes: each is one file, and needs nothing
//! else.

pub const TAKES_ALL: &str = "a String takes all";

pub const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
td, th { padding: .15rem .8rem .15rem 0; text-align: left; border-bottom: 1px solid #8884 }
td.n, th.n { text-align: right }
.good { color: #2a7d2a } .bad { color: #c0392b }
";

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
