//! The quickstart stands in three places, and is one text.

fn quickstart() -> String {
    let example = std::fs::read_to_string("examples/quickstart.rs").expect("the example is there");
    // Its first line says where else it stands.
    let (_, text) = example.split_once("\n\n").expect("a first line");
    text.to_owned()
}

#[test]
fn quickstart_in_readme_is_the_example() {
    let readme = std::fs::read_to_string("README.md").expect("README is there");
    assert!(readme.contains(&format!("```rust\n{}```", quickstart())));
}

#[test]
fn quickstart_in_the_front_page_is_the_example() {
    let front_page = std::fs::read_to_string("src/lib.rs").expect("lib.rs is there");
    let lines = front_page
        .lines()
        .filter_map(|line| line.strip_prefix("//!"));
    let text: Vec<_> = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    assert!(text.join("\n").contains(quickstart().trim_end()));
}

#[test]
fn quickstart_has_at_most_40_lines() {
    assert!(quickstart().lines().count() <= 40);
}
