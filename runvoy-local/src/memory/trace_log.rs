use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use runvoy_core::id::RequestId;
use runvoy_core::port::{StoreError, TraceLine, TraceLog};

/// Lines kept, unless said otherwise.
const LINES: usize = 10_000;

/// The last lines of a log, as long as the process lives.
#[derive(Debug)]
pub struct MemoryTraceLog {
    lines: Mutex<VecDeque<(Option<RequestId>, TraceLine)>>,
    keeps: usize,
}

impl Default for MemoryTraceLog {
    fn default() -> Self {
        Self::keeping(LINES)
    }
}

impl MemoryTraceLog {
    /// An empty log that keeps so many lines.
    pub fn keeping(lines: usize) -> Self {
        Self { lines: Mutex::default(), keeps: lines }
    }

    /// Writes a line, of a request or of none.
    pub fn write(&self, request: Option<RequestId>, line: TraceLine) {
        let mut lines = self.lock();
        if lines.len() >= self.keeps {
            lines.pop_front();
        }
        lines.push_back((request, line));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Option<RequestId>, TraceLine)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TraceLog for MemoryTraceLog {
    async fn read(&self, request: RequestId, limit: usize) -> Result<Vec<TraceLine>, StoreError> {
        let lines = self.lock();
        let of_request = lines.iter().rev().filter(|(of, _)| *of == Some(request));
        let mut last: Vec<_> = of_request.take(limit).map(|(_, line)| line.clone()).collect();
        last.reverse();
        Ok(last)
    }
}
