//! What a decision costs: by the built-in policies, and with an organisation's own beside them.
#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![expect(clippy::unwrap_used, reason = "a benchmark that fails has nobody to tell")]

#[path = "src/policies.rs"]
mod policies;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use runvoy_core::cedar::CedarAuthorizer;
use runvoy_core::id::{Email, ExecutionId, Role};
use runvoy_core::port::{Action, Authorizer as _, AuthzRequest, Decision, Principal, Resource, RunContext};

const POLICIES: usize = 500;

fn user(number: usize) -> Email {
    format!("user{number}@acme.test").parse().unwrap()
}

fn allowed(authorizer: &CedarAuthorizer, request: &AuthzRequest<'_>) -> bool {
    let decision = authorizer.authorize(request).now_or_never().unwrap().unwrap();
    matches!(decision, Decision::Allow { .. })
}

fn read<'a>(user: &'a Email, owners: &'a [Email]) -> AuthzRequest<'a> {
    AuthzRequest {
        principal: Principal { user, role: Role::Developer },
        action: Action::ReadExecution,
        resource: Resource::Execution { id: ExecutionId::from_u128(7), owners },
        run: None,
    }
}

fn run<'a>(user: &'a Email, command: &'a str) -> AuthzRequest<'a> {
    AuthzRequest {
        principal: Principal { user, role: Role::Developer },
        action: Action::Run,
        resource: Resource::System,
        run: Some(RunContext { command, hour: 9, ..RunContext::default() }),
    }
}

fn authorize(c: &mut Criterion) {
    let builtin = CedarAuthorizer::builtin();
    let organisation =
        CedarAuthorizer::with_policies(&[("own.cedar", &policies::own_policies(POLICIES))]).unwrap();
    let me = user(0);
    let owners = [me.clone()];
    let mut group = c.benchmark_group("authorize");

    group.bench_function("builtin/read/repeated", |b| {
        b.iter(|| assert!(allowed(&builtin, black_box(&read(&me, &owners)))));
    });
    // Nobody asked before: the decision is made, not remembered.
    let mut number = 0;
    let mut somebody = || {
        number += 1;
        let user = user(number);
        (user.clone(), [user])
    };
    group.bench_function("builtin/read/new", |b| {
        b.iter_batched_ref(
            &mut somebody,
            |(user, owners)| assert!(allowed(&builtin, black_box(&read(user, owners)))),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("builtin/run/new", |b| {
        b.iter_batched_ref(
            &mut somebody,
            |(user, _)| assert!(allowed(&builtin, black_box(&run(user, "make deploy")))),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("500 own/read/repeated", |b| {
        b.iter(|| assert!(allowed(&organisation, black_box(&read(&me, &owners)))));
    });
    group.bench_function("500 own/run/repeated", |b| {
        b.iter(|| assert!(allowed(&organisation, black_box(&run(&me, "make deploy")))));
    });
    let mut number = 0;
    let mut command = || {
        number += 1;
        format!("make deploy-{number}")
    };
    group.bench_function("500 own, 25 in scope/run/new", |b| {
        b.iter_batched_ref(
            &mut command,
            |command| assert!(allowed(&organisation, black_box(&run(&me, command)))),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, authorize);
criterion_main!(benches);
