//! Every code and feature there is, against PROTOCOL's tables.

use asyncserver::wire::{ErrorCode, Features, TaskCode, TaskId};

/// N9: what each of the library's codes is called, and whether it promises that
/// nothing ran.
const ERRORS: [(ErrorCode, u8, &str, bool); 6] = [
    (ErrorCode::CANCELLED, 255, "255 (cancelled)", false),
    (ErrorCode::PANICKED, 254, "254 (panicked)", false),
    (ErrorCode::DEADLINE, 253, "253 (deadline)", false),
    (ErrorCode::UNAVAILABLE, 252, "252 (unavailable)", true),
    (ErrorCode::UNKNOWN_TASK, 251, "251 (unknown task)", true),
    (ErrorCode::MALFORMED, 250, "250 (malformed)", true),
];

#[test]
fn every_error_code_is_what_n9_says() {
    for (named, number, shown, never_started) in ERRORS {
        assert_eq!(named, ErrorCode::from(number));
        assert_eq!(named.to_string(), shown);
        assert_eq!(named.never_started(), never_started, "{shown}");
    }
    for number in 0..=u8::MAX {
        let code = ErrorCode::from(number);
        assert_eq!(code.0, number);
        assert_eq!(code.is_reserved(), number >= 250, "N9: {number}");
        if number < 250 {
            assert_eq!(code.to_string(), number.to_string());
            assert_eq!((code.name(), code.never_started()), (None, false));
        }
    }
}

#[test]
fn every_task_code_is_what_n6_says() {
    let reserved = [
        (TaskCode::KEEP_ALIVE, 250),
        (TaskCode::CANCEL, 251),
        (TaskCode::NEGOTIATE, 252),
    ];
    for (named, number) in reserved {
        assert_eq!(named, TaskCode::from(number));
    }
    for number in 0..=u8::MAX {
        let code = TaskCode::from(number);
        assert_eq!(code.0, number);
        assert_eq!(code.is_reserved(), number >= 250, "N6: {number}");
        assert_eq!(code.to_string(), number.to_string());
    }
    for number in [0, 7, u32::MAX] {
        assert_eq!(TaskId::from(number).0, number);
        assert_eq!(TaskId(number).to_string(), number.to_string());
    }
}

/// E3: 1 is Goodbye, 2 is Processing; unknown bits are kept, and never granted.
#[test]
fn features_are_sets_of_bits() {
    assert_eq!(Features::GOODBYE.bits(), 1);
    assert_eq!(Features::PROCESSING.bits(), 2);
    for ours in 0..8_u32 {
        let left = Features::from_bits(ours);
        assert_eq!(left.bits(), ours);
        for theirs in 0..8_u32 {
            let right = Features::from_bits(theirs);
            assert_eq!(left.contains(right), ours & theirs == theirs);
            assert_eq!(left.intersection(right).bits(), ours & theirs);
            assert_eq!((left | right).bits(), ours | theirs);
        }
    }
}
