//! Two servers and eight clients under random faults: every call ends, and
//! nothing is left over.

mod workload;

use std::collections::BTreeSet;
use std::time::Duration;

use asyncserver_sim::Trace;
use workload::Tally;

#[test]
fn every_call_ends_and_nothing_is_left_over() {
    let mut sum = Tally::default();
    let mut schedules = BTreeSet::new();
    for seed in 0..20 {
        let run = workload::run(seed, Trace::off(), (0..8).collect(), Duration::ZERO);
        schedules.insert(run.schedule);
        let tally = run.expect_clean();
        sum.answered += tally.answered;
        sum.failed += tally.failed;
    }
    println!("{sum:?}");
    assert!(sum.answered > 500, "{sum:?}");
    assert!(sum.failed > 20, "{sum:?}");
    assert_eq!(schedules.len(), 20);
}
