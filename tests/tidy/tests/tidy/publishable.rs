//! The shared crates can be published as they are, but for those that know our four services.

use tidy::{blocks, dependencies, list, read, root, spans};

/// They know the four services' tables, names or orders, so that they serve no other saga.
const PRIVATE: [&str; 4] = ["audit", "demo", "labels", "memory-stores"];
const HEADER: &str = "#![doc = include_str!(\"../README.md\")]\n";

fn crates(is_private: bool) -> impl Iterator<Item = (String, String)> {
    let names = list("shared").into_iter().map(|path| path.replace("shared/", ""));
    let named = names.filter(move |name| PRIVATE.contains(&name.as_str()) == is_private);
    named.map(|name| {
        let manifest = read(&format!("shared/{name}/Cargo.toml"));
        (name, manifest)
    })
}

#[test]
fn every_shared_crate_can_be_published_or_says_that_it_is_not() {
    for (name, manifest) in crates(true) {
        assert!(manifest.contains("\npublish = false\n"), "shared/{name}: say `publish = false`");
    }
    let workspace = read("Cargo.toml");
    for (name, manifest) in crates(false) {
        for line in [
            &format!("name = \"quadrille-{name}\""),
            &format!("name = \"{}\"", name.replace('-', "_")),
            "description = \"",
            "license.workspace = true",
            "publish = true",
        ] {
            assert!(
                manifest.contains(&format!("\n{line}")),
                "shared/{name}/Cargo.toml: add `{line}`, or name it in PRIVATE"
            );
        }
        let has_licence = root().join(format!("shared/{name}/LICENSE")).exists();
        assert!(has_licence, "shared/{name} is published without its LICENSE: link it there");
        let versioned = format!(
            "\n{name} = {{ package = \"quadrille-{name}\", path = \"shared/{name}\", version"
        );
        assert!(workspace.contains(&versioned), "Cargo.toml: {name} needs `package` and `version`");
        for needed in dependencies(&format!("shared/{name}/Cargo.toml"), |it| it == "dependencies")
        {
            assert!(
                !PRIVATE.contains(&needed.as_str()),
                "shared/{name} depends on {needed}, which is not published"
            );
        }
    }
}

#[test]
fn the_readme_of_a_published_crate_is_its_documentation_with_an_example_that_is_tested() {
    for (name, _) in crates(false) {
        let path = format!("shared/{name}/README.md");
        assert!(root().join(&path).exists(), "{path}: write what it does, with an example");
        let text = read(&path);
        assert!(
            text.starts_with(&format!("# quadrille-{name}\n\n")),
            "{path}: begin with the name"
        );
        let is_tested = |language: &str| ["rust", "rust,no_run"].contains(&language);
        assert!(
            blocks(&text).iter().any(|block| is_tested(&block.language)),
            "{path}: add an example in ```rust"
        );
        let lib = read(&format!("shared/{name}/src/lib.rs"));
        assert!(lib.starts_with(HEADER), "shared/{name}/src/lib.rs: begin with {HEADER}");
        for (line, page) in spans(&text).into_iter().filter(|(_, span)| span.ends_with(".md")) {
            let page = page.trim_start_matches("docs/decisions/");
            let found = ["docs", "docs/decisions"].map(|it| root().join(it).join(page));
            let found = found.iter().any(|it| it.exists()) || root().join(page).exists();
            assert!(found, "{path}:{line} names {page}, which is not in docs/");
        }
    }
}
