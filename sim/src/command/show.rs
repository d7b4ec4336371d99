//! Shows one run, and makes it smaller.

use std::path::Path;
use std::process::ExitCode;

use asyncserver_sim::{Played, Trace, html, play, text};
use indicatif::ProgressBar;

use super::{Chosen, Replay, Trouble};

pub(crate) fn replay(replay: &Replay) -> Result<ExitCode, Trouble> {
    let plan = replay.what.plan()?;
    let trace = if replay.trace {
        Trace::full()
    } else {
        Trace::off()
    };
    let played = play(&plan, trace);
    if replay.trace {
        print!("{}", played.trace.text());
    }
    if replay.text {
        print!("{}", text(&plan, &played));
    }
    if let Some(file) = &replay.timeline {
        std::fs::write(file, html(&plan, &played)?)?;
        eprintln!("the timeline is {}", file.display());
    }
    if let Some(file) = &replay.plan {
        std::fs::write(file, plan.to_json())?;
    }
    Ok(told(&played))
}

fn told(played: &Played) -> ExitCode {
    match &played.verdict {
        Some(verdict) => {
            eprintln!("BROKEN ({}): {verdict}", verdict.kind);
            ExitCode::FAILURE
        }
        None => {
            eprintln!("nothing is wrong with it");
            ExitCode::SUCCESS
        }
    }
}

pub(crate) fn shrink(what: &Chosen, output: &Path) -> Result<ExitCode, Trouble> {
    let plan = what.plan()?;
    let Some(verdict) = play(&plan, Trace::off()).verdict else {
        return Err("nothing is wrong with it".into());
    };
    let bar = ProgressBar::new_spinner();
    bar.set_message(format!("{} events", plan.len()));
    let mut small = asyncserver_sim::shrink(&plan, &verdict, |plan| {
        bar.set_message(format!(
            "{} events, {} clients",
            plan.len(),
            plan.clients.len()
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    let played = play(&small, Trace::off());
    small.about = verdict.text.lines().next().unwrap_or_default().to_owned();
    std::fs::write(output, small.to_json())?;
    println!(
        "{} events and faults of {} are left: {}",
        small.len(),
        plan.len(),
        output.display()
    );
    told(&played);
    Ok(ExitCode::SUCCESS)
}
