//! Limits the length of files and lines, and requires a header in each module.

use tidy::{read, rust_files};

const LINES_MAX: usize = 400;
const LINES_AIM: usize = 300;
const COLUMNS_MAX: usize = 100;

fn all_rust() -> impl Iterator<Item = (String, String)> {
    let files = ["services", "shared", "tools", "tests"].into_iter().flat_map(rust_files);
    files.map(|file| {
        let text = read(&file);
        (file, text)
    })
}

/// Fails with all places at once, so that they can be fixed in one go.
#[track_caller]
fn none(places: impl IntoIterator<Item = String>, advice: &str) {
    let places: Vec<_> = places.into_iter().collect();
    assert!(places.is_empty(), "{advice}:\n  {}", places.join("\n  "));
}

fn lines(matching: impl Fn(&str) -> bool + Copy) -> impl Iterator<Item = String> {
    all_rust().flat_map(move |(file, text)| {
        let found = (1..).zip(text.lines()).filter(|(_, line)| matching(line));
        let places: Vec<_> =
            found.map(|(at, line): (usize, _)| format!("{file}:{at}: {}", line.trim())).collect();
        places
    })
}

#[test]
fn no_file_is_too_long_to_be_read_at_once() {
    let long = all_rust().map(|(file, text)| (file, text.lines().count()));
    let long = long.filter(|(_, count)| *count > LINES_MAX);
    let advice = format!("split these by what they promise, to {LINES_AIM} lines or fewer");
    none(long.map(|(file, count)| format!("{file} has {count} lines")), &advice);
}

#[test]
fn no_line_is_wider_than_the_screen() {
    let wide = lines(|line| line.chars().count() > COLUMNS_MAX && !is_one_string(line));
    none(wide, &format!("break these comments and strings before column {COLUMNS_MAX}"));
}

/// A string that is shown or compared as it stands reads better whole.
fn is_one_string(line: &str) -> bool {
    line.matches('"').count() >= 2 && !line.trim_start().starts_with("//")
}

#[test]
fn every_module_begins_by_saying_what_it_promises() {
    let says = |text: &str| text.starts_with("//! ") || text.starts_with("#![doc = include_str!(");
    let silent = all_rust().filter(|(file, text)| !says(text) && !is_plain(file));
    none(
        silent.map(|(file, _)| file),
        "give these a first line `//! …` that says what they promise",
    );
}

/// A `main` only calls its library, and tests are named by what they test.
fn is_plain(file: &str) -> bool {
    let inside_package = file.splitn(3, '/').nth(2).unwrap_or_default();
    let mut parts = inside_package.split('/');
    inside_package.ends_with("main.rs")
        || parts.any(|part| ["tests", "tests.rs", "examples", "benches"].contains(&part))
}

#[test]
fn no_module_header_begins_with_a_question_word() {
    const QUESTIONS: [&str; 7] = ["What", "How", "Who", "Where", "Whether", "Which", "When"];
    let asks = |header: &str| tidy_words(header).next().is_some_and(|it| QUESTIONS.contains(&it));
    let asking = headers().filter(|(file, header)| asks(header) && !is_header_fixed(file));
    none(asking.map(|(file, _)| file), "begin these with a verb or a noun: `//! Measures …`");
}

#[test]
fn every_module_header_names_its_subject() {
    const VAGUE: [&str; 3] = ["nobody", "somebody", "whoever"];
    let is_vague = |header: &str| {
        let header = header.to_lowercase();
        tidy_words(&header).any(|word| VAGUE.contains(&word))
    };
    let vague = headers().filter(|(_, header)| is_vague(header));
    none(vague.map(|(file, _)| file), &format!("name the service or the person, not {VAGUE:?}"));
}

/// The `//!` lines at the start of each file that has them, without the marks.
fn headers() -> impl Iterator<Item = (String, String)> {
    all_rust().filter(|(_, text)| text.starts_with("//!")).map(|(file, text)| {
        let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
        let header = lines.map(str::trim).collect::<Vec<_>>().join("\n");
        (file, header)
    })
}

/// A reaction's header names its events, and loyalty's stand in docs/add-a-service.md.
fn is_header_fixed(file: &str) -> bool {
    file.contains("/src/on/") || file.starts_with("tests/loyalty/")
}

#[test]
fn no_comment_is_a_banner() {
    const RULES: [&str; 6] = ["----", "====", "****", "####", "~~~~", "////"];
    let banners = lines(|line| {
        let line = line.trim_start();
        let comment = line.starts_with("//") || line.starts_with("/*");
        comment && RULES.iter().any(|rule| line.contains(rule))
    });
    none(banners, "a file that needs banners is several files; split it, or take them out");
}

#[test]
fn nothing_is_left_to_be_done_later() {
    let later = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
    let left = lines(|line| tidy_words(line).any(|word| later.contains(&word)));
    none(left, "do it now, or write an issue and take the note out");
}

fn tidy_words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric())
}
