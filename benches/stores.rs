//! What the stores cost, beside what the disk does: an answer of the durable one means `fdatasync`.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nobody to tell")]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use runvoy_core::id::Email;
use runvoy_core::port::{ExecutionStore, ListQuery, NewExecution};
use runvoy_local::memory::MemoryExecutionStore;
use runvoy_local::sqlite::{MasterKey, SqliteConfig, SqliteStores};
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[path = "src/sample.rs"]
mod sample;

/// Records that are there before anything is measured.
const RECORDS: u32 = 10_000;
const AT_ONCE: usize = 64;

/// On the disk of the build: a temporary directory may be in memory.
fn directory() -> TempDir {
    let beside = std::env::current_exe().unwrap().parent().map_or_else(PathBuf::new, PathBuf::from);
    TempDir::new_in(beside).unwrap()
}

fn bench_store(c: &mut Criterion, runtime: &Runtime, name: &str, store: &Arc<dyn ExecutionStore>) {
    let user: Email = sample::EMAIL.parse().unwrap();
    let mut number = 0;
    let mut new = || {
        number += 1;
        sample::execution(&user, number)
    };
    let mut id = None;
    runtime.block_on(async {
        for _ in 0..RECORDS / 500 {
            let batch: Vec<NewExecution> = (0..500).map(|_| new()).collect();
            id = batch.last().map(|new| new.record.id);
            join_all(batch.into_iter().map(|new| store.create(new))).await;
        }
    });
    let id = id.unwrap();

    let mut group = c.benchmark_group(name);
    group.bench_function("get", |b| {
        b.to_async(runtime).iter(|| async { store.get(id).await.unwrap().unwrap() });
    });
    let query = ListQuery { limit: 50, ..ListQuery::default() };
    group.bench_function("list the newest 50", |b| {
        b.to_async(runtime).iter(|| async { store.list(&query).await.unwrap() });
    });
    group.sample_size(20);
    group.bench_function("create, one at a time", |b| {
        b.to_async(runtime).iter_batched(
            &mut new,
            |new| async { store.create(new).await.unwrap() },
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(AT_ONCE as u64));
    group.bench_function("create, 64 at once", |b| {
        b.to_async(runtime).iter_batched(
            || (0..AT_ONCE).map(|_| new()).collect::<Vec<_>>(),
            |batch| join_all(batch.into_iter().map(|new| store.create(new))),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn stores(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let dir = directory();
    let mut file = File::create(dir.path().join("fdatasync")).unwrap();
    c.bench_function("fdatasync of 4 KiB", |b| {
        b.iter(|| {
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
        });
    });

    let memory: Arc<dyn ExecutionStore> = Arc::new(MemoryExecutionStore::new());
    bench_store(c, &runtime, "memory", &memory);
    let master_key = MasterKey::from_bytes([7; 32]);
    let config = SqliteConfig { path: dir.path().join("runvoy.db"), master_key };
    let sqlite = SqliteStores::open(config).unwrap().execution_store();
    bench_store(c, &runtime, "sqlite", &sqlite);
}

criterion_group!(benches, stores);
criterion_main!(benches);
