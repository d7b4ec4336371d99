//! The example of a user's own server: its bug is found and made small.

#[path = "../examples/reservations.rs"]
mod example;

use asyncserver_sim::Case;
use example::{OnCancel, check};

#[test]
fn the_bug_in_the_cancel_handling_is_found_and_shrunk_to_one_step() {
    let broken = check(OnCancel::Forget).run().unwrap_err();
    assert!(broken.cases < 50, "{broken}");
    assert!(broken.found.len() >= broken.small.len());
    assert_eq!(broken.small.len(), 1, "{broken}");
    assert!(
        broken.small.steps[0].gives_up_after_ms.is_some(),
        "{broken}"
    );
    assert_eq!(broken.why, "seat 0 is reserved, and no task is there");
    let story = broken.to_string();
    assert!(story.contains("Buy { seat: 0 }, gives up after"), "{story}");
    assert!(story.contains("is cancelled: Requested"), "{story}");
    let page = broken.html();
    assert!(
        page.contains("✘") && page.contains("seat 0 is reserved"),
        "{page}"
    );
}

#[test]
fn the_small_case_breaks_again_from_its_file_and_passes_with_the_remedy() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("reservations");
    std::fs::create_dir_all(&folder).unwrap();
    let broken = check(OnCancel::Forget).run().unwrap_err();
    let json = broken.small.to_json();
    assert_eq!(Case::from_json(&json).unwrap(), broken.small);
    std::fs::write(folder.join("small.json"), json).unwrap();
    let again = check(OnCancel::Forget).seeds(0..0).kept(&folder).run();
    assert_eq!(again.unwrap_err().why, broken.why);
    let passed = check(OnCancel::Release).seeds(0..0).kept(&folder).run();
    assert_eq!(passed.unwrap().cases, 1);
}

#[test]
fn with_the_remedy_no_case_breaks() {
    assert_eq!(check(OnCancel::Release).run().unwrap().cases, 200);
}
