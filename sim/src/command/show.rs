//! Shows one run, and makes it smaller.

use std::path::Path;
use std::process::ExitCode;

use asyncserver_sim::{Plan, Played, Trace, html, play, story, text};

use super::progress::Progress;
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
    } else {
        println!("{}", verdict(&played));
    }
    if let Some(file) = &replay.timeline {
        write(file, &html(&plan, &played)?)?;
        eprintln!("sim: the timeline is {}", file.display());
    }
    if let Some(file) = &replay.plan {
        write(file, &plan.to_json())?;
        eprintln!("sim: the plan is {}", file.display());
    }
    Ok(ExitCode::from(u8::from(played.verdict.is_some())))
}

fn verdict(played: &Played) -> String {
    match &played.verdict {
        Some(verdict) => format!("BROKEN ({}): {verdict}", verdict.kind),
        None => "Nothing is wrong with it.".to_owned(),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Trouble> {
    Ok(std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?)
}

pub(crate) fn shrink(
    what: &Chosen,
    output: &Path,
    about: Option<String>,
) -> Result<ExitCode, Trouble> {
    let plan = what.plan()?;
    let Some(broken) = play(&plan, Trace::off()).verdict else {
        return Err("nothing is wrong with it".into());
    };
    let about = about.unwrap_or_else(|| broken.signature.clone());
    let kept = |plan: &Plan| {
        let about = about.clone();
        let plan = Plan {
            about,
            ..plan.clone()
        };
        write(output, &plan.to_json())
    };
    // A file that cannot be written is better known before than after the work.
    kept(&plan)?;
    let progress = Progress::new(None, "smaller plans");
    let small = asyncserver_sim::shrink(&plan, &broken, |plan| {
        let (events, clients) = (plan.len(), plan.clients.len());
        progress.say(format!("{events} events, {clients} clients"));
        progress.step();
        // What cannot be written now is written at the end, or found out then.
        drop(kept(plan));
    });
    progress.end();
    kept(&small)?;
    println!("{}", story(&small));
    println!("{}", verdict(&play(&small, Trace::off())));
    let (events, before, file) = (small.len(), plan.len(), output.display());
    println!("{events} events and faults of {before} are left: {file}");
    Ok(ExitCode::SUCCESS)
}
