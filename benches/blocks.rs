//! What a log costs on its way: the block as it is stored, and the event that it is streamed as.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nobody to tell")]

use std::borrow::Cow;
use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use runvoy_core::api::BlockData;
use runvoy_core::id::ExecutionId;
use runvoy_core::log::{Cursor, LogBlock, LogEvent};
use runvoy_task::block::{Header, Stream, Tail, decode, encode};

/// Lines of 100 bytes that fit a block.
const LINES: u32 = 655;

fn payload() -> Vec<u8> {
    let mut line =
        b"2026-01-31T12:00:00.000Z INFO \x1b[32mmodule.network\x1b[0m: \"still\" creating".to_vec();
    line.resize(99, b'.');
    line.push(b'\n');
    line.repeat(LINES as usize)
}

fn blocks(c: &mut Criterion) {
    let payload = payload();
    let header =
        Header { len: 0, events: LINES, first: 7, time_ms: 8, stream: Stream::Stdout, tail: Tail::Newline };
    let mut stored = Vec::new();
    encode(&header, &payload, &mut stored);

    let mut group = c.benchmark_group("block of 655 lines");
    group.throughput(Throughput::Elements(u64::from(LINES)));
    let mut out = Vec::with_capacity(stored.len());
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            encode(&header, black_box(&payload), &mut out);
        });
    });
    group.bench_function("decode", |b| b.iter(|| decode(black_box(&stored)).unwrap()));

    let text = std::str::from_utf8(&payload).unwrap();
    let data = BlockData {
        first: 7,
        timestamp: 8,
        stream: Stream::Stdout,
        text: Some(Cow::Borrowed(text)),
        raw: None,
    };
    let mut event = Vec::with_capacity(2 * payload.len());
    group.bench_function("event encode", |b| {
        b.iter(|| {
            event.clear();
            serde_json::to_writer(&mut event, black_box(&data)).unwrap();
        });
    });
    group.bench_function("event decode", |b| {
        b.iter(|| serde_json::from_slice::<BlockData<'_>>(black_box(&event)).unwrap());
    });

    let block = LogBlock {
        first: 7,
        timestamp: 8,
        stream: Stream::Stdout,
        tail: Tail::Newline,
        bytes: Bytes::from(payload.clone()),
        next: Cursor::before_event(7 + u64::from(LINES)),
    };
    let id = ExecutionId::from_u128(1);
    // What a page is made of, for clients that take a line at a time.
    group.bench_function("events of a page", |b| {
        b.iter(|| {
            let events: Vec<_> =
                black_box(&block).lines().map(|line| LogEvent::new(id, &block, &line)).collect();
            event.clear();
            serde_json::to_writer(&mut event, &events).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
