//! Runs the kept scenarios, then seeds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use asyncserver_sim::{Plan, Trace, play};

use super::many::play_many;
use super::report::{Failed, Report};
use super::{Seeds, Trouble, version};

pub(crate) fn run(seeds: &Seeds) -> Result<ExitCode, Trouble> {
    let mut report = Report {
        version: version().to_owned(),
        ..Report::default()
    };
    if !seeds.fresh_only && seeds.shard.0 == 1 {
        kept(&seeds.scenarios, &mut report)?;
    }
    let patience = seeds.failures.saturating_sub(report.failures.len());
    if patience > 0 {
        let seeds = Seeds {
            failures: patience,
            ..seeds.clone()
        };
        report.add(play_many(&seeds));
    }
    report.print();
    if report.failures.len() >= seeds.failures {
        println!("stopped at {} failures", seeds.failures);
    }
    report.write(seeds.json.as_deref(), seeds.junit.as_deref())?;
    Ok(report.exit_code())
}

/// The scenarios that failed once.
fn kept(directory: &Path, report: &mut Report) -> Result<(), Trouble> {
    for file in scenarios(directory)? {
        let name = in_short(&file);
        let plan = std::fs::read_to_string(&file)
            .map_err(|error| error.to_string())
            .and_then(|text| Plan::from_json(&text).map_err(|error| error.to_string()));
        let plan = plan.map_err(|error| format!("{name}: {error}"))?;
        report.kept.push(name.clone());
        if let Some(verdict) = play(&plan, Trace::off()).verdict {
            let text = format!("{}\n{verdict}", plan.about);
            let failed = Failed::of_file(name, &verdict.signature, text.trim_start());
            println!("{}", failed.told());
            report.failures.push(failed);
        }
    }
    Ok(())
}

fn scenarios(directory: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let files = std::fs::read_dir(directory);
    let files = files.map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|is| is == "json"));
    files.sort();
    Ok(files)
}

/// From where the command is, if it lies below.
fn in_short(file: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = file.strip_prefix(here).unwrap_or(file);
    short.display().to_string()
}
