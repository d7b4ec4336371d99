//! What must not be in the sources: who may import whom, and the house rules
//! that can be read off a text. Each check is shown able to fail.

use std::path::{Path, PathBuf};

/// A source file without its comments, its strings' contents and its tests.
struct Source {
    path: String,
    code: String,
}

fn library() -> Vec<Source> {
    let mut paths = Vec::new();
    collect(Path::new("src"), &mut paths);
    paths.sort();
    let sources: Vec<_> = paths
        .into_iter()
        .filter(|path| !path.to_string_lossy().ends_with("tests.rs"))
        .map(|path| Source {
            code: code_of(&std::fs::read_to_string(&path).unwrap()),
            path: path.to_string_lossy().replace('\\', "/"),
        })
        .collect();
    assert!(sources.len() > 20, "the sources are found");
    sources
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The code alone: comments go, strings are emptied, tests at the end are cut off.
fn code_of(text: &str) -> String {
    let text = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    text.lines()
        .map(line_of_code)
        .collect::<Vec<_>>()
        .join("\n")
}

fn line_of_code(line: &str) -> String {
    let (mut code, mut in_string, mut characters) = (String::new(), false, line.chars().peekable());
    while let Some(character) = characters.next() {
        match character {
            '\\' if in_string => drop(characters.next()),
            // A quotation mark as a character is not the start of a string.
            '\'' if !in_string && characters.peek() == Some(&'"') => {}
            '"' => {
                in_string = !in_string;
                code.push('"');
            }
            _ if in_string => {}
            '/' if characters.peek() == Some(&'/') => break,
            other => code.push(other),
        }
    }
    code
}

/// Whether `word` stands in the line as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let behind = line[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !behind.is_some_and(is_part)
    })
}

/// Every place in which one of the words stands.
fn places<'a>(sources: impl IntoIterator<Item = &'a Source>, words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for source in sources {
        for (number, line) in source.code.lines().enumerate() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                places.push(format!("{}:{}: {word}", source.path, number + 1));
            }
        }
    }
    places
}

fn none(places: Vec<String>, rule: &str) {
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}

fn within<'a>(sources: &'a [Source], folder: &str) -> impl Iterator<Item = &'a Source> {
    sources
        .iter()
        .filter(move |source| source.path.starts_with(folder))
}

fn outside<'a>(sources: &'a [Source], files: &[&str]) -> Vec<&'a Source> {
    let is_allowed = |source: &&Source| !files.iter().any(|file| source.path.ends_with(file));
    sources.iter().filter(is_allowed).collect()
}

/// The start of each `select!`'s braces that is not followed by `biased`.
fn unbiased_selects(source: &Source) -> usize {
    let selects = source.code.split("select!").skip(1);
    selects
        .filter(|rest| {
            !rest
                .trim_start_matches([' ', '{', '\n', '('])
                .starts_with("biased")
        })
        .count()
}

/// The longest function: its first line's number, and how many lines it has.
fn longest_function(code: &str) -> (usize, usize) {
    let (mut open, mut longest) = (Vec::new(), (0, 0));
    for (number, line) in code.lines().enumerate() {
        let start = line.trim_start();
        let indent = line.len() - start.len();
        if (start.starts_with("fn ") || start.contains(" fn ")) && !start.ends_with(';') {
            open.push((indent, number));
        }
        if start == "}"
            && let Some(&(depth, first)) = open.last()
            && depth == indent
        {
            open.pop();
            if number - first + 1 > longest.1 {
                longest = (first + 1, number - first + 1);
            }
        }
    }
    longest
}

#[test]
fn wire_and_proto_know_no_runtime_clock_or_lock() {
    let sources = library();
    let words = ["tokio", "Instant::now", "std::sync", "SystemTime", "Mutex"];
    none(places(within(&sources, "src/wire"), &words), "wire is pure");
    none(
        places(within(&sources, "src/proto"), &words),
        "proto is pure",
    );
}

#[test]
fn time_is_read_in_the_clock_alone() {
    let sources = library();
    let words = ["Instant::now", "SystemTime::now"];
    let sources = outside(&sources, &["runtime/clock.rs"]);
    none(places(sources, &words), "time comes from the clock");
}

#[test]
fn nothing_iterates_over_hash_maps_or_draws_unseeded_numbers() {
    let words = [
        "HashMap",
        "HashSet",
        "RandomState",
        "thread_rng",
        "fastrand::u32",
        "fastrand::u64",
    ];
    none(places(&library(), &words), "the library is deterministic");
}

#[test]
fn locks_are_only_where_they_are_expected() {
    let sources = library();
    let allowed = [
        "server/session.rs",
        "server/registry.rs",
        "client/connection.rs",
        "src/sync.rs",
    ];
    let words = ["Mutex", "RwLock"];
    none(places(outside(&sources, &allowed), &words), "locks");
}

#[test]
fn nothing_is_unsafe() {
    none(places(&library(), &["unsafe"]), "no unsafe");
}

#[test]
fn nothing_unwraps() {
    let words = [
        ".unwrap()",
        ".expect(\"",
        "unreachable!",
        "todo!",
        "unimplemented!",
    ];
    let mut found = Vec::new();
    for source in &library() {
        for (number, line) in source.code.lines().enumerate() {
            let bad = words.iter().filter(|word| line.contains(**word));
            found.extend(bad.map(|word| format!("{}:{}: {word}", source.path, number + 1)));
        }
    }
    none(found, "no peer can make the library panic");
}

#[test]
fn imports_go_one_way() {
    let sources = library();
    let rules: [(&str, &[&str]); 5] = [
        (
            "src/wire",
            &[
                "crate::proto",
                "crate::runtime",
                "crate::server",
                "crate::client",
                "crate::sync",
            ],
        ),
        (
            "src/proto",
            &[
                "crate::runtime",
                "crate::server",
                "crate::client",
                "crate::sync",
            ],
        ),
        (
            "src/runtime",
            &[
                "crate::wire",
                "crate::proto",
                "crate::server",
                "crate::client",
            ],
        ),
        ("src/server", &["crate::client"]),
        ("src/client", &["crate::server"]),
    ];
    for (folder, forbidden) in rules {
        none(places(within(&sources, folder), forbidden), folder);
    }
}

#[test]
fn test_machinery_is_in_no_library_code() {
    let sources = library();
    let words = ["turmoil", "proptest", "shuttle"];
    none(places(&sources, &words), "test machinery");
    none(
        places(outside(&sources, &["src/sync.rs"]), &["loom::"]),
        "loom is in sync.rs",
    );
}

#[test]
fn every_select_is_biased() {
    for source in &library() {
        assert_eq!(unbiased_selects(source), 0, "{}", source.path);
    }
}

/// House rule 9: near 300 lines.
const LONG_FILE: usize = 360;

#[test]
fn files_stay_readable() {
    for source in &library() {
        let lines = source.code.lines().count();
        let path = &source.path;
        assert!(
            lines <= LONG_FILE,
            "{path} has {lines} lines, at most {LONG_FILE} are allowed"
        );
    }
}

#[test]
fn functions_fit_a_screen() {
    for source in &library() {
        let (line, length) = longest_function(&source.code);
        assert!(length <= 70, "{}:{line}: {length} lines", source.path);
    }
}

#[test]
fn the_contract_has_a_place_for_every_rule() {
    let contract = std::fs::read_to_string("docs/protocol.md").unwrap();
    let rules = [("N", 9), ("E", 7), ("T", 13), ("L", 16), ("D", 9), ("C", 8)];
    for (letter, last) in rules {
        for number in 1..=last {
            let rule = format!("{letter}{number}");
            assert!(contract.contains(&rule), "{rule} is missing");
        }
    }
}

// ── the checks can fail ──────────────────────────────────────────────────

fn bad(code: &str) -> Source {
    Source {
        path: "src/bad.rs".into(),
        code: code_of(code),
    }
}

#[test]
fn words_are_found_in_code_and_not_in_comments_strings_or_tests() {
    let source = bad(
        "let m = Mutex::new(1); // Mutex\nlet s = \"Mutex\";\n#[cfg(test)]\nmod tests { Mutex }",
    );
    assert_eq!(places([&source], &["Mutex"]), ["src/bad.rs:1: Mutex"]);
    assert_eq!(
        places([&bad("MutexGuard")], &["Mutex"]),
        Vec::<String>::new()
    );
}

#[test]
fn an_unbiased_select_is_found() {
    assert_eq!(unbiased_selects(&bad("select! { a = b => {} }")), 1);
    assert_eq!(
        unbiased_selects(&bad("select! {\n    biased;\n a = b => {} }")),
        0
    );
}

#[test]
fn a_long_function_is_measured() {
    let code = format!("fn long() {{\n{}}}\n", "    x();\n".repeat(80));
    assert_eq!(longest_function(&code), (1, 82));
}
