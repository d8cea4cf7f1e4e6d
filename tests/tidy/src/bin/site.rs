//! Writes the sources of the site: `site FOLDER`. SITE_SOURCE is where the repository's files can
//! be read, such as https://github.com/owner/name/blob/main.

use std::{env, path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("site: name a folder");
        return ExitCode::FAILURE;
    };
    let source = env::var("SITE_SOURCE").ok().filter(|source| !source.is_empty());
    match tidy::write_site(&folder, source.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("site: {}: {why}", folder.display());
            ExitCode::FAILURE
        }
    }
}
