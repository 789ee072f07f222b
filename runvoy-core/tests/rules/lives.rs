//! Lives that touch every operation; each is played with a crash at each of its port calls, of each process.

use super::crash::{Step, Wants, moments, play};
use super::fuse::Moment;
use super::people::Act;

fn plain_lives() -> Vec<Vec<Step>> {
    let run = Step::Run { instance: 0, key: 0, lock: Wants::Nothing };
    let claim = Step::Claim { execution: 0 };
    let news = Step::News { instance: 0, execution: 0, late: 0 };
    let exit = Step::Exit { execution: 0, code: 0 };
    let kill = Step::Kill { instance: 0, execution: 0 };
    let mend = [Step::Wait { seconds: 61 }, Step::Reconcile { instance: 0 }];
    let again = Step::Run { instance: 0, key: 0, lock: Wants::Nothing };
    let holds = Step::Run { instance: 0, key: 1, lock: Wants::OrFails(0) };
    let waits = Step::Run { instance: 0, key: 2, lock: Wants::AndWaits(0) };
    let waits_too = Step::Run { instance: 1, key: 3, lock: Wants::AndWaits(0) };
    let both = |step: fn(usize) -> Step| [step(0), step(1)];
    let claim_all = both(|execution| Step::Claim { execution });
    let exit_all = both(|execution| Step::Exit { execution, code: 0 });
    let news_all = both(|execution| Step::News { instance: 0, execution, late: 0 });
    let vanish = Step::Vanish { execution: 0 };
    let people = |acts: &[(usize, Act)]| -> Vec<Step> {
        acts.iter().map(|(who, act)| Step::People { instance: 0, act: *act, who: *who }).collect()
    };
    let with_mending = |steps: &[Step]| steps.iter().cloned().chain(mend.clone()).collect::<Vec<_>>();
    vec![
        with_mending(&[run.clone(), claim.clone(), news.clone(), exit.clone(), news.clone()]),
        with_mending(&[run.clone(), again.clone(), claim.clone(), exit.clone(), news.clone()]),
        with_mending(&[run.clone(), kill.clone(), claim.clone(), news.clone()]),
        with_mending(&[run.clone(), claim.clone(), kill.clone(), exit.clone(), news.clone()]),
        with_mending(&[run.clone(), claim.clone(), news.clone(), kill.clone(), vanish.clone(), news.clone()]),
        with_mending(&[run.clone(), claim, news.clone(), vanish, news]),
        people(&[(0, Act::Invite), (0, Act::ClaimAtOnce), (0, Act::Claim), (0, Act::Rotate), (1, Act::Claim)]),
        people(&[(0, Act::Invite), (0, Act::Claim), (1, Act::Invite), (0, Act::Revoke), (1, Act::Claim)]),
        people(&[(0, Act::RevokeAdmin), (0, Act::Invite), (0, Act::Rotate), (0, Act::Claim), (1, Act::Claim)]),
        // One holds the lock, one is told so, two wait; each ends and hands over.
        with_mending(
            &[
                &[holds.clone(), Step::Run { instance: 0, key: 4, lock: Wants::OrFails(0) }, waits.clone()][..],
                std::slice::from_ref(&waits_too),
                &claim_all,
                &exit_all,
                &news_all,
                &claim_all,
                &exit_all,
                &news_all,
            ]
            .concat(),
        ),
        // The holder is made to go; whoever waits is no longer allowed.
        with_mending(
            &[
                &[holds.clone(), waits.clone(), Step::ForceRelease { instance: 0, lock: 0 }, Step::Revoke(true)]
                    [..],
                &claim_all,
                &exit_all,
                &news_all,
                &[waits_too, Step::Kill { instance: 0, execution: 1 }],
            ]
            .concat(),
        ),
        // Recorded, perhaps no more than that, and no longer allowed when somebody finds it.
        with_mending(&[holds.clone(), waits.clone(), Step::Revoke(true)]),
        with_mending(&[waits.clone(), Step::Revoke(true)]),
        // Whose lock is taken goes on running beside the next.
        with_mending(
            &[
                &[holds.clone(), waits.clone()][..],
                &claim_all,
                &[Step::Abandon { instance: 0, lock: 0 }],
                &claim_all,
                &exit_all,
                &news_all,
            ]
            .concat(),
        ),
        with_mending(&[
            run,
            Step::Never { execution: 0 },
            Step::Wait { seconds: 1000 },
            Step::ReconcileTwice,
            exit,
            again,
            kill,
        ]),
    ]
}

/// More than any life has.
const MOST_CALLS: usize = 1000;

/// At how many of its calls a process can die in a life: at each, until there are no more.
fn deaths(life: &[Step], process: usize) -> usize {
    let dies = |at: &usize| {
        let others = (usize::MAX, Moment::BeforeTheEffect);
        let mut died = false;
        for moment in moments() {
            for (late_tasks, one_step) in [(false, false), (true, false), (false, true), (true, true)] {
                let crashes = [vec![others; process], vec![(*at, moment)]].concat();
                died |= play(life, crashes, late_tasks, one_step);
            }
        }
        died
    };
    let calls = (0..MOST_CALLS).take_while(dies).count();
    assert!(calls < MOST_CALLS, "a life of that many calls is not played to its end");
    calls
}

#[test]
fn a_crash_at_every_port_call_of_a_plain_life() {
    let deaths: Vec<_> =
        plain_lives().iter().map(|life| [0, 1].map(|process| deaths(life, process))).collect();
    assert!(deaths.iter().all(|[first, _]| *first >= 10), "a life that calls nothing: {deaths:?}");
    assert!(deaths.iter().any(|[_, second]| *second > 0), "the second process calls nothing: {deaths:?}");
}
