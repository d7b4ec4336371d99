//! The kept scenarios: plans that failed once, made small.

use std::path::Path;

use asyncserver_sim::{Plan, Trace, play};

fn kept() -> Vec<(String, Plan)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|is| is == "json"));
    files.sort();
    let read = |file: std::path::PathBuf| {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(file).unwrap();
        let plan = Plan::from_json(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, plan)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_kept_scenario_passes() {
    for (name, plan) in kept() {
        if let Some(verdict) = play(&plan, Trace::off()).verdict {
            panic!("kept scenario {name}: {}\n{verdict}", plan.about);
        }
    }
}

#[test]
fn every_kept_scenario_is_a_handful_of_events_with_its_story_in_one_line() {
    let kept = kept();
    assert!(kept.len() >= 16, "{}", kept.len());
    for (name, plan) in kept {
        assert!(
            plan.len() <= 5,
            "{name} has {} events and faults",
            plan.len()
        );
        assert!(plan.about.len() > 20, "{name} tells nothing");
        assert_eq!(plan.about.lines().count(), 1, "{name}");
    }
}
