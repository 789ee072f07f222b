//! What every [`TraceLog`] owes.

use std::sync::Arc;

use async_trait::async_trait;

use crate::id::RequestId;
use crate::port::{TraceLevel, TraceLine, TraceLog};

/// What a backend provides, so that the suite can write what it reads.
#[async_trait]
pub trait TraceHarness: Send + Sync {
    /// The log under test.
    fn log(&self) -> Arc<dyn TraceLog>;

    /// Has the server write a line, in a request or outside of any.
    fn write(&self, request: Option<RequestId>, line: TraceLine);

    /// The log as a restarted server finds it; `None` where nothing outlives a server.
    async fn reopened(&self) -> Option<Arc<dyn TraceLog>>;

    /// How many lines of ordinary length the log keeps at least; a few times as many are more than it keeps.
    fn keeps(&self) -> usize;
}

/// Makes a test of each property.
///
/// `$make` is an `async fn() -> impl TraceHarness` that answers one with an empty log.
#[macro_export]
macro_rules! trace_log_suite {
    ($make:expr) => {
        $crate::trace_log_suite! {
            $make;
            a_request_has_its_own_lines_in_their_order
            what_is_unknown_has_no_lines
            the_last_lines_are_answered
            a_line_is_itself_whatever_it_says
            lines_written_at_once_are_all_there
            lines_are_there_after_a_restart
            the_oldest_lines_go_first
        }
    };
    ($make:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::testing::block_on(async {
                    let harness = $make().await;
                    $crate::testing::trace_log::$case(&harness).await;
                });
            }
        )*
    };
}

fn line(message: &str) -> TraceLine {
    let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
    TraceLine { at, level: TraceLevel::Info, message: message.to_owned() }
}

fn numbered(number: usize) -> TraceLine {
    line(&format!("line {number:06} of some ordinary length, with what a server has to say about a request"))
}

/// Of many requests' lines each gets its own, as they were written.
pub async fn a_request_has_its_own_lines_in_their_order(harness: &dyn TraceHarness) {
    let requests: Vec<_> = (0..3).map(|_| RequestId::random()).collect();
    for number in 0..30 {
        harness.write(Some(requests[number % 3]), numbered(number));
        harness.write(None, line("nobody's"));
    }
    for (at, request) in requests.iter().enumerate() {
        let expected: Vec<_> = (0..30).filter(|number| number % 3 == at).map(numbered).collect();
        assert_eq!(harness.log().read(*request, 1000).await.unwrap(), expected);
    }
}

/// An unknown request is an empty answer.
pub async fn what_is_unknown_has_no_lines(harness: &dyn TraceHarness) {
    assert_eq!(harness.log().read(RequestId::random(), 10).await.unwrap(), []);
    harness.write(Some(RequestId::random()), line("of another"));
    assert_eq!(harness.log().read(RequestId::random(), 10).await.unwrap(), []);
}

/// Where there are more than `limit`, the last are answered, in their order.
pub async fn the_last_lines_are_answered(harness: &dyn TraceHarness) {
    let request = RequestId::random();
    (0..10).for_each(|number| harness.write(Some(request), numbered(number)));
    let last: Vec<_> = (7..10).map(numbered).collect();
    assert_eq!(harness.log().read(request, 3).await.unwrap(), last);
}

/// What a line says breaks neither it nor others, and a request that is spoken of is not the line's own.
pub async fn a_line_is_itself_whatever_it_says(harness: &dyn TraceHarness) {
    let (request, other) = (RequestId::random(), RequestId::random());
    let messages = [
        "two\nlines".to_owned(),
        "\"quoted\" \\ and \u{0} and \u{1b}[31m and ü and \u{2028}".to_owned(),
        format!("\",\"request\":\"{other}\",\""),
        format!("request.id={other}"),
        String::new(),
    ];
    let lines: Vec<_> = messages.iter().map(|message| line(message)).collect();
    let levels =
        [TraceLevel::Trace, TraceLevel::Debug, TraceLevel::Info, TraceLevel::Warn, TraceLevel::Error];
    let lines: Vec<_> =
        lines.into_iter().zip(levels).map(|(line, level)| TraceLine { level, ..line }).collect();
    for line in &lines {
        harness.write(Some(request), line.clone());
    }
    assert_eq!(harness.log().read(request, 10).await.unwrap(), lines);
    assert_eq!(harness.log().read(other, 10).await.unwrap(), []);
}

/// Of lines that are written at once none breaks another.
pub async fn lines_written_at_once_are_all_there(harness: &dyn TraceHarness) {
    let requests: Vec<_> = (0..8).map(|_| RequestId::random()).collect();
    std::thread::scope(|scope| {
        for request in &requests {
            scope.spawn(move || (0..20).for_each(|number| harness.write(Some(*request), numbered(number))));
        }
    });
    for request in requests {
        let expected: Vec<_> = (0..20).map(numbered).collect();
        assert_eq!(harness.log().read(request, 1000).await.unwrap(), expected);
    }
}

/// What was readable before a restart is readable after it.
pub async fn lines_are_there_after_a_restart(harness: &dyn TraceHarness) {
    let request = RequestId::random();
    (0..5).for_each(|number| harness.write(Some(request), numbered(number)));
    let before = harness.log().read(request, 10).await.unwrap();
    assert_eq!(before.len(), 5);
    let Some(reopened) = harness.reopened().await else { return };
    assert_eq!(reopened.read(request, 10).await.unwrap(), before);
}

/// A log that is full forgets from its beginning, and from nowhere else.
pub async fn the_oldest_lines_go_first(harness: &dyn TraceHarness) {
    let request = RequestId::random();
    let lines = harness.keeps() * 6;
    for number in 0..lines {
        harness.write(Some(request), numbered(number));
        if number % 50 == 0 {
            // Nothing is lost because it was written too fast.
            harness.log().read(RequestId::random(), 1).await.unwrap();
        }
    }
    let kept = harness.log().read(request, usize::MAX).await.unwrap();
    assert!((harness.keeps()..lines).contains(&kept.len()), "{} of {lines}", kept.len());
    let expected: Vec<_> = (lines - kept.len()..lines).map(numbered).collect();
    assert_eq!(kept, expected);
}
