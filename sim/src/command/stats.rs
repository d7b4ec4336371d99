//! What seeds reach, by profile, and the hashes of their traces.

use std::collections::BTreeSet;
use std::process::ExitCode;

use asyncserver_sim::{Profile, Trace, play};
use oracle::Reached;

use super::many::play_many;
use super::report::Report;
use super::{About, Seeds, Trouble};

/// A line for each seed, with the hash of its trace.
pub(crate) fn digest(seeds: &Seeds) -> Result<ExitCode, Trouble> {
    let mut schedules = BTreeSet::new();
    for seed in (0..).map_while(|number| seeds.nth(number)) {
        let played = play(&seeds.about.plan(seed), Trace::digest_only());
        let digest = played.trace.digest();
        schedules.insert(played.schedule);
        println!("{seed:#x} {} {:016x}", digest.events, digest.hash);
    }
    println!("{} different schedules", schedules.len());
    Ok(ExitCode::SUCCESS)
}

/// How often each state is reached in seeds of each profile.
pub(crate) fn stats(seeds: u64, from: u64, jobs: Option<usize>) -> Result<ExitCode, Trouble> {
    let of_profile = |profile: Profile| {
        eprintln!("sim: {seeds} seeds of {}", profile.name());
        play_many(&Seeds {
            seeds: Some(seeds),
            from,
            shard: (1, 1),
            jobs,
            time: None,
            about: About {
                profile,
                budget: None,
            },
            failures: usize::MAX,
            fresh_only: true,
            scenarios: Default::default(),
            json: None,
            junit: None,
        })
    };
    let reports: Vec<_> = Profile::ALL.into_iter().map(of_profile).collect();
    print!("{}", table(&reports));
    let missing = |report: &Report| report.missing().into_iter().collect::<BTreeSet<_>>();
    let never = reports.iter().map(missing).reduce(|a, b| &a & &b);
    let never = never.unwrap_or_default();
    println!(
        "\n{} of {} states were reached; never:",
        Reached::ALL.len() - never.len(),
        Reached::ALL.len()
    );
    never.iter().for_each(|state| println!("  {state}"));
    Ok(ExitCode::SUCCESS)
}

/// A line for each state, a column for each profile.
fn table(reports: &[Report]) -> String {
    let mut table = format!("{:<24}", "per 1,000 seeds");
    for profile in Profile::ALL {
        table += &format!("{:>12}", profile.name());
    }
    let mut line = |name: &str, times: &dyn Fn(&Report) -> u64| {
        table += &format!("\n{name:<24}");
        for report in reports {
            let per_thousand = times(report) as f64 * 1000.0 / report.seeds.max(1) as f64;
            table += &format!("{per_thousand:>12.1}");
        }
    };
    for state in Reached::ALL {
        let name = format!("{state:?}");
        line(&name, &|report| {
            report.reached.get(&name).copied().unwrap_or_default()
        });
    }
    line("failures", &|report| report.failures.len() as u64);
    table.push('\n');
    table
}
