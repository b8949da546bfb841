//! What is published is in step with the project.

use std::fs;
use std::path::Path;

use turnout::VERSION;

/// A file of the checkout; None where the crate stands alone, as it is published.
fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

#[test]
fn copies_are_those_of_the_checkout() {
    for (copy, original) in [("service_config.json", "../service_config.json"), ("LICENSE", "../../LICENSE")] {
        if let Some(original) = read(original) {
            assert!(read(copy).unwrap() == original, "{copy}: run `make clients-stubs` in the root of the checkout");
        }
    }
}

#[test]
fn the_version_is_the_projects() {
    if let Some(project) = read("../../pyproject.toml") {
        assert!(project.contains(&format!("\nversion = \"{VERSION}\"\n")), "{VERSION} is not in pyproject.toml");
    }
}

#[test]
fn the_readme_shows_the_examples() {
    let readme = read("README.md").unwrap();
    for example in ["examples/route.rs", "examples/complete.rs"] {
        let code = read(example).unwrap();
        // Without the line that says what it is.
        let (_, code) = code.split_once("\n\n").unwrap();
        assert!(readme.contains(&format!("```rust,no_run\n{code}```")), "{example} is not in README.md");
    }
}
