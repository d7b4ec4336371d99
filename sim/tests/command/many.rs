//! Many seeds: `run`, `digest`, `merge` and `stats`.

use std::collections::BTreeSet;

use super::{complained, folder, impossible, json, said, sim, write};

/// Seeds that need no luck: nothing goes wrong in them.
const CALM: [&str; 4] = ["run", "--fresh-only", "--profile", "calm"];

#[test]
fn seeds_that_pass_exit_with_0_and_say_what_was_reached() {
    let folder = folder("pass");
    let output = sim(&folder, &[&CALM[..], &["--seeds", "6"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("6 seeds in"), "{said}");
    assert!(said.contains("states reached; never:"), "{said}");
    assert!(said.contains("\n0 failures"), "{said}");
}

#[test]
fn a_seed_that_fails_exits_with_1_and_prints_the_line_that_replays_it() {
    let folder = folder("fail");
    let output = sim(
        &folder,
        &[
            &CALM[..],
            &["--seeds", "3", "--from", "0x10", "--budget", "0ms"],
        ]
        .concat(),
    );
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    let start = "cargo run --release -p asyncserver-sim -- ";
    let mut lines = said.lines();
    let line = lines.find_map(|line| line.strip_prefix(start));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with("replay 0x1"), "{line}");
    assert!(line.contains(" --at "), "{line}");
    assert!(said.contains("3 failures"), "{said}");
    // The line, pasted: the same failure again.
    let again = sim(&folder, &line.split(' ').collect::<Vec<_>>());
    assert_eq!(again.status.code(), Some(1), "{line}");
    assert!(super::said(&again).starts_with("BROKEN ("), "{line}");
}

#[test]
fn it_stops_at_so_many_failures() {
    let folder = folder("patience");
    let few = [
        "--seeds",
        "50",
        "--budget",
        "0ms",
        "--failures",
        "2",
        "--jobs",
        "1",
    ];
    let output = sim(&folder, &[&CALM[..], &few].concat());
    let said = said(&output);
    assert_eq!(said.matches("-- replay 0x").count(), 2, "{said}");
    assert!(said.contains("stopped at 2 failures"), "{said}");
}

#[test]
fn it_stops_after_its_time() {
    let folder = folder("time");
    let output = sim(
        &folder,
        &[&CALM[..], &["--time", "300ms", "--json", "r.json"]].concat(),
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let report = json(&folder.join("r.json"));
    assert!(report["seconds"].as_f64().unwrap() >= 0.3, "{report}");
    assert!(report["parts"][0]["seeds"].is_null(), "{report}");
}

#[test]
fn a_kept_scenario_that_fails_is_told_of_first() {
    let folder = folder("kept");
    let mut plan = impossible();
    plan.about = "it has no time".to_owned();
    write(&folder, "bad.json", &plan.to_json());
    let run = [
        "run",
        "--profile",
        "calm",
        "--seeds",
        "2",
        "--scenarios",
        ".",
    ];
    let output = sim(&folder, &run);
    assert_eq!(output.status.code(), Some(1));
    let told = said(&output);
    assert!(told.contains("-- replay ./bad.json --at "), "{told}");
    assert!(told.contains("it has no time\nno progress"), "{told}");
    assert!(told.contains("1 kept scenarios\n2 seeds"), "{told}");
    // Only the first of several shards has them.
    let second = sim(&folder, &[&run[..], &["--shard", "2/2"]].concat());
    assert_eq!(second.status.code(), Some(0), "{}", said(&second));
}

#[test]
fn a_report_for_continuous_integration_is_well_formed_and_counts_right() {
    let folder = folder("junit");
    let mut plan = impossible();
    plan.about = "<b>\"bold\" & brave</b>".to_owned();
    write(&folder, "a&b.json", &plan.to_json());
    plan.phases.budget_ms = 120_000;
    write(&folder, "fine.json", &plan.to_json());
    let run = [
        "run",
        "--profile",
        "calm",
        "--seeds",
        "4",
        "--scenarios",
        ".",
    ];
    sim(&folder, &[&run[..], &["--junit", "r.xml"]].concat());
    let xml = std::fs::read_to_string(folder.join("r.xml")).unwrap();
    let elements = elements(&xml);
    let count = |name: &str| elements.iter().filter(|e| e.starts_with(name)).count();
    assert_eq!(count("testcase "), 3, "{xml}");
    assert_eq!(count("failure "), 1, "{xml}");
    let suite = elements
        .iter()
        .find(|e| e.starts_with("testsuite "))
        .unwrap();
    assert!(suite.contains(r#"tests="3" failures="1""#), "{suite}");
    assert!(xml.contains("4 seeds that passed"), "{xml}");
    assert!(xml.contains("a&amp;b.json"), "{xml}");
    assert!(
        xml.contains("&lt;b&gt;&quot;bold&quot; &amp; brave"),
        "{xml}"
    );
}

/// The elements of a document, each by its start tag; it has to be well-formed.
fn elements(xml: &str) -> Vec<String> {
    let (mut open, mut elements) = (Vec::new(), Vec::new());
    let body = xml
        .strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>")
        .unwrap();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(!text.contains('>'), "a bare > in {text}");
        for reference in text.split('&').skip(1) {
            let name = reference.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot"].contains(&name), "&{name}");
        }
        let quotes = tag.matches('"').count();
        assert_eq!(quotes % 2, 0, "{tag}");
        let name = tag.split(' ').next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
        } else {
            elements.push(tag.to_owned());
            if !tag.ends_with('/') {
                open.push(name.to_owned());
            }
        }
    }
    assert_eq!(open, Vec::<String>::new());
    elements
}

#[test]
fn shards_are_each_seed_exactly_once() {
    let folder = folder("shards");
    let seeds = |shard: &str| {
        let arguments = [
            "digest",
            "--profile",
            "calm",
            "--seeds",
            "11",
            "--from",
            "5",
        ];
        let output = sim(&folder, &[&arguments[..], &["--shard", shard]].concat());
        let said = said(&output);
        let seeds = said.lines().filter(|line| line.starts_with("0x"));
        let seeds = seeds.map(|line| line.split(' ').next().unwrap().to_owned());
        seeds.collect::<Vec<_>>()
    };
    let all: Vec<_> = (5..16).map(|seed| format!("{seed:#x}")).collect();
    assert_eq!(seeds("1/1"), all);
    let shards = ["1/3", "2/3", "3/3"].map(seeds);
    assert_eq!(shards.each_ref().map(Vec::len), [4, 4, 3]);
    let together: BTreeSet<_> = shards.concat().into_iter().collect();
    assert_eq!(together, all.into_iter().collect());
}

#[test]
fn reports_of_shards_add_up() {
    let folder = folder("merge");
    let run = |shard: &str, file: &str| {
        let arguments = [
            "--seeds", "9", "--shard", shard, "--json", file, "--budget", "0ms",
        ];
        let output = sim(&folder, &[&CALM[..], &arguments].concat());
        assert_eq!(output.status.code(), Some(1));
    };
    for (shard, file) in [("1/3", "1.json"), ("2/3", "2.json"), ("3/3", "3.json")] {
        run(shard, file);
    }
    run("1/1", "whole.json");
    let merge = ["merge", "1.json", "2.json", "3.json", "--json", "all.json"];
    let output = sim(&folder, &merge);
    assert_eq!(output.status.code(), Some(1), "{}", complained(&output));
    assert!(said(&output).contains("9 failures"), "{}", said(&output));
    let (all, whole) = (
        json(&folder.join("all.json")),
        json(&folder.join("whole.json")),
    );
    for field in ["seeds", "polls", "reached", "version", "virtual_seconds"] {
        assert_eq!(all[field], whole[field], "{field}");
    }
    let failed = |report: &serde_json::Value| {
        let failures = report["failures"].as_array().unwrap().iter();
        failures
            .map(|f| f["what"].to_string())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(failed(&all), failed(&whole));
    assert_eq!(failed(&all).len(), 9);
}

#[test]
fn a_shard_that_is_there_twice_is_refused_and_an_absent_one_named() {
    let folder = folder("overlap");
    let run = ["--seeds", "4", "--shard", "2/3", "--json", "2.json"];
    sim(&folder, &[&CALM[..], &run].concat());
    let twice = sim(&folder, &["merge", "2.json", "2.json"]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(complained(&twice).contains("shard 2/3 of calm is there twice"));
    let alone = sim(&folder, &["merge", "2.json"]);
    assert_eq!(alone.status.code(), Some(0));
    let said = said(&alone);
    assert!(
        said.contains("these shards are not there: 1/3 3/3"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_carried_out_exits_with_2_and_says_why() {
    let folder = folder("misuse");
    write(&folder, "no.json", "{\"seed\": 1}");
    for (arguments, complaint) in [
        (&["run", "--shard", "4/3"][..], "there is no shard 4 of 3"),
        (&["run", "--scenarios", "nowhere"], "nowhere: No such file"),
        (&["run", "--profile", "sunny"], "invalid value 'sunny'"),
        (&["merge", "no.json"], "no.json: missing field"),
        (&["replay", "no.json"], "no.json: missing field"),
        (&["replay", "1f"], "(the seed would be 0x1f)"),
        (&["replay"], "required"),
    ] {
        let output = sim(&folder, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let complained = complained(&output);
        assert!(
            complained.contains(complaint),
            "{arguments:?}: {complained}"
        );
    }
}

#[test]
fn stats_have_a_line_for_each_state_and_name_what_was_never_reached() {
    let folder = folder("stats");
    let output = sim(&folder, &["stats", "--seeds", "2"]);
    assert_eq!(output.status.code(), Some(0));
    let said = said(&output);
    let (table, never) = said.split_once("states were reached; never:").unwrap();
    assert!(table.starts_with("per 1,000 seeds"), "{table}");
    assert!(
        table.lines().next().unwrap().contains("tiny-limits"),
        "{table}"
    );
    for state in oracle::Reached::ALL {
        let name = format!("{state:?}");
        let line = table
            .lines()
            .find(|line| line.split(' ').next() == Some(&name));
        let line = line.unwrap_or_else(|| panic!("{name} has no line"));
        let is_zero = line.split_whitespace().skip(1).all(|times| times == "0.0");
        let is_named = never.lines().any(|line| line == format!("  {state}"));
        assert_eq!(is_zero, is_named, "{name}");
    }
}
