//! The contract with clients of 0.5, rule by rule, over HTTP and WebSocket against the real server. `docs/WIRE.md` has each
//! rule in words; here is how it shows.

mod ask;
mod authorization;
mod client;
mod cors;
mod errors;
mod executions;
mod images;
mod logs;
mod people;
mod run;
mod secrets;
mod service;
mod socket;
mod socket_end;
mod stream;
mod transport;
mod web;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::ask::Told;
use self::world::World;
use crate::git_server::Server as Forge;
use crate::git_server::repository::Repositories;
use crate::harness::Server;

/// A rule, by its number in `docs/WIRE.md`.
pub(super) struct Rule {
    number: &'static str,
    check: Check,
}

#[derive(Clone, Copy)]
enum Check {
    /// What is asked, and what is right of the answer.
    Row(fn(&World) -> Told, fn(&Told)),
    /// What takes more than one question.
    Scene(fn(&World)),
}

const fn row(number: &'static str, ask: fn(&World) -> Told, check: fn(&Told)) -> Rule {
    Rule { number, check: Check::Row(ask, check) }
}

const fn scene(number: &'static str, play: fn(&World)) -> Rule {
    Rule { number, check: Check::Scene(play) }
}

/// Plays every rule, each whatever becomes of the others, and names those that do not hold.
fn play(world: &World, rules: &[Rule]) {
    let mut broken = Vec::new();
    for Rule { number, check } in rules {
        let played = catch_unwind(AssertUnwindSafe(|| match check {
            Check::Row(ask, check) => check(&ask(world)),
            Check::Scene(play) => play(world),
        }));
        if played.is_err() {
            eprintln!("^ rule {number}");
            broken.push(*number);
        }
    }
    assert!(
        broken.is_empty(),
        "rules that do not hold: {}; the server's log: {}",
        broken.join(", "),
        world.server.log()
    );
}

/// Each group, and the test that plays it.
macro_rules! groups {
    ($(#[test] fn $test:ident() = $group:expr;)*) => {
        const GROUPS: &[&[Rule]] = &[$($group,)* run::WITH_ENGINE, run::WITH_FORGE];

        $(
            #[test]
            fn $test() {
                play(&World::new(), $group);
            }
        )*
    };
}

groups! {
    #[test]
    fn transport_is_as_the_contract_says() = transport::RULES;
    #[test]
    fn errors_are_as_the_contract_says() = errors::RULES;
    #[test]
    fn people_and_claims_are_as_the_contract_says() = people::RULES;
    #[test]
    fn health_and_trace_are_as_the_contract_says() = service::RULES;
    #[test]
    fn runs_are_as_the_contract_says() = run::RULES;
    #[test]
    fn executions_are_as_the_contract_says() = executions::RULES;
    #[test]
    fn logs_are_as_the_contract_says() = logs::RULES;
    #[test]
    fn images_are_as_the_contract_says() = images::RULES;
    #[test]
    fn secrets_are_as_the_contract_says() = secrets::RULES;
    #[test]
    fn rights_are_as_the_contract_says() = authorization::RULES;
    #[test]
    fn websockets_open_and_tell_as_the_contract_says() = stream::RULES;
    #[test]
    fn websockets_end_as_the_contract_says() = socket_end::RULES;
    #[test]
    fn a_ping_comes_every_half_minute() = socket_end::PING;
    #[test]
    fn the_command_line_of_0_5_works() = client::RULES;
    #[test]
    fn the_web_app_of_0_5_works() = web::RULES;
    #[test]
    fn cors_is_as_the_contract_says() = cors::RULES;
}

#[test]
fn images_of_runs_are_as_the_contract_says() {
    let Some(server) = crate::docker::server() else { return };
    play(&World::over(server), run::WITH_ENGINE);
}

#[test]
fn checkouts_are_as_the_contract_says() {
    let repositories = Repositories::new();
    let repository = repositories.create("a", &[("which.txt", "main\n")]);
    repository.publish("HEAD", "refs/heads/main");
    repository.write(&[("which.txt", "v1.0\n"), ("live/which.txt", "live\n")]);
    repository.publish(&repository.commit("second"), "refs/tags/v1.0");
    let forge = Forge::start(repositories.root(), None);
    let authority = tempfile::tempdir().unwrap();
    let bundle = authority.path().join("ca.pem");
    std::fs::write(&bundle, &forge.authority).unwrap();
    let server = Server::start_in(&[("RUNVOY_CA_BUNDLE", bundle.to_str().unwrap())], None);
    let mut world = World::over(server);
    world.repository = forge.url("a.git");
    play(&world, run::WITH_FORGE);
}

/// The numbers of the tables between `<!-- rules:begin -->` and `<!-- rules:end -->`.
fn numbers() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/WIRE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let inside =
        text.split_once("<!-- rules:begin -->").unwrap().1.split_once("<!-- rules:end -->").unwrap().0;
    let rows = inside.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").map(str::trim).collect::<Vec<_>>());
    let rules = cells.filter(|cells| cells[0] != "rule" && !cells[0].starts_with("---"));
    rules
        .map(|cells| {
            assert!(
                cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()),
                "an empty cell: {cells:?}"
            );
            cells[0].to_owned()
        })
        .collect()
}

#[test]
fn each_rule_of_the_contract_has_a_row_and_each_row_a_rule() {
    let rows: Vec<_> =
        GROUPS.iter().flat_map(|group| group.iter().map(|rule| rule.number.to_owned())).collect();
    let written = numbers();
    let (distinct, known): (BTreeSet<_>, BTreeSet<_>) = (rows.iter().collect(), written.iter().collect());
    assert_eq!(rows.len(), distinct.len(), "a number stands for one rule");
    assert_eq!(written.len(), known.len(), "a number is written once");
    assert_eq!(distinct, known);
}
