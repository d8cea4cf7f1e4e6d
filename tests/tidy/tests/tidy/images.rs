//! The images are built from all that they are made of.

use tidy::{list, read};

/// The commands that are images.
const COMMANDS: [&str; 2] = ["tools/saga", "tools/mock-gateway"];

#[test]
fn docker_is_given_the_source_of_every_tool_that_is_compiled_into_an_image() {
    let (given, tools) = (read("deploy/docker/Dockerfile.dockerignore"), list("tools"));
    let mut needed: Vec<String> = COMMANDS.map(Into::into).into();
    let mut next = 0;
    while let Some(tool) = needed.get(next) {
        let manifest = read(&format!("{tool}/Cargo.toml"));
        let (dependencies, _) =
            manifest.split_once("[dev-dependencies]").unwrap_or((&manifest, ""));
        let is_used = |tool: &&String| {
            let (_, name) = tool.split_once('/').expect("it is in a folder");
            dependencies.lines().any(|line| line.split(['.', ' ']).next() == Some(name))
        };
        let more = tools.iter().filter(is_used).filter(|tool| !needed.contains(tool));
        let more: Vec<_> = more.cloned().collect();
        needed.extend(more);
        next += 1;
    }
    assert!(needed.len() > COMMANDS.len(), "the commands have parts");
    for tool in needed {
        let line = format!("!{tool}/src");
        assert!(given.lines().any(|given| given == line), "the .dockerignore needs a line {line}");
    }
}
