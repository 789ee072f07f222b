use proptest::prelude::*;

use super::*;
use crate::port::AuditKind;

const RECORDS: usize = 12;

fn event(n: usize) -> AuditEvent {
    AuditEvent {
        at: jiff::Timestamp::from_millisecond(1_700_000_000_123 + i64::try_from(n).unwrap()).unwrap(),
        request_id: crate::id::RequestId::from_u128(7),
        user: "a@acme.test".parse().unwrap(),
        address: None,
        kind: AuditKind::Allowed,
        action: "run".to_owned(),
        resource: format!("execution:{n}"),
        policy: Some("builtin".to_owned()),
        detail: Some("ü \"quoted\"".to_owned()),
    }
}

fn chain_after(mut head: Head, events: impl Iterator<Item = usize>) -> Vec<AuditRecord> {
    let mut next = |n| {
        let record = AuditRecord::after(&head, &body(&event(n)).unwrap());
        head = record.head();
        record
    };
    events.map(&mut next).collect()
}

fn chain() -> Vec<AuditRecord> {
    chain_after(Head::default(), 0..RECORDS)
}

fn key() -> CheckpointKey {
    CheckpointKey::derive(&[7; 32])
}

fn checkpoint(record: &AuditRecord) -> Checkpoint {
    Checkpoint::new(event(0).at, record.head(), Some(&key()))
}

fn check(records: &[AuditRecord], checkpoints: &[Checkpoint]) -> AuditReport {
    check_with(records, checkpoints, None)
}

fn check_with(records: &[AuditRecord], checkpoints: &[Checkpoint], kept: Option<Head>) -> AuditReport {
    let mut verifier = Verifier::new(checkpoints.to_vec(), Some(&key()), kept);
    for record in records {
        if !verifier.take(record) {
            break;
        }
    }
    verifier.finish()
}

fn found(records: &[AuditRecord], checkpoints: &[Checkpoint]) -> Option<(u64, ProblemKind)> {
    check(records, checkpoints).problem.map(|problem| (problem.seq, problem.kind))
}

#[test]
fn a_whole_chain_is_whole_and_says_what_is_not_anchored() {
    let records = chain();
    let report = check(&records, &[checkpoint(&records[3]), checkpoint(&records[8])]);
    assert_eq!((report.records, report.checkpoints, report.unanchored, report.problem), (12, 2, 3, None));
    let empty = check(&[], &[]);
    assert_eq!((empty.records, empty.hash.as_str(), empty.problem), (0, GENESIS, None));
}

#[test]
fn a_record_reads_back_and_its_line_is_json() {
    let record = &chain()[4];
    assert_eq!(record.event().unwrap(), event(4));
    let line: serde_json::Value = serde_json::from_str(&record.to_line()).unwrap();
    assert_eq!((&line["seq"], &line["hash"]), (&5.into(), &record.hash.as_str().into()));
    let damaged = AuditRecord { text: "{\"x\n}".to_owned(), ..record.clone() };
    let line: serde_json::Value = serde_json::from_str(&damaged.to_line()).unwrap();
    assert_eq!(line["damaged"], "{\"x\n}");
}

#[test]
fn what_is_dropped_is_named_by_its_number() {
    let records = chain();
    let anchors = [checkpoint(&records[RECORDS - 1])];
    for at in 0..RECORDS {
        let mut cut = records.clone();
        cut.remove(at);
        let kind = if at + 1 == RECORDS { ProblemKind::MissingTail } else { ProblemKind::Missing };
        assert_eq!(found(&cut, &anchors), Some((at as u64 + 1, kind)));
        let kind = if at + 1 == RECORDS { ProblemKind::MissingTail } else { ProblemKind::Moved };
        for (n, record) in cut.iter_mut().enumerate() {
            record.seq = n as u64 + 1;
        }
        assert_eq!(found(&cut, &anchors), Some((at as u64 + 1, kind)), "renumbered");
    }
    assert_eq!(found(&records[..5], &anchors), Some((6, ProblemKind::MissingTail)));
}

#[test]
fn what_is_reordered_or_inserted_is_named() {
    let records = chain();
    let mut swapped = records.clone();
    swapped.swap(4, 7);
    (swapped[4].seq, swapped[7].seq) = (5, 8);
    assert_eq!(found(&swapped, &[]), Some((5, ProblemKind::Moved)));
    let mut inserted = records.clone();
    inserted.insert(4, AuditRecord::after(&records[3].head(), &body(&event(99)).unwrap()));
    for (n, record) in inserted.iter_mut().enumerate() {
        record.seq = n as u64 + 1;
    }
    assert_eq!(found(&inserted, &[]), Some((6, ProblemKind::Moved)), "where the true ones go on");
}

#[test]
fn a_chain_written_anew_does_not_agree_with_its_checkpoint() {
    let records = chain();
    let anew = chain_after(records[5].head(), 100..106);
    let forged = [&records[..6], &anew].concat();
    assert_eq!(found(&forged, &[]), None);
    let anchors = [checkpoint(&records[3]), checkpoint(&records[8])];
    assert_eq!(found(&forged, &anchors), Some((5, ProblemKind::Rewritten)));
    // What the key did not make is no anchor: it proves nothing, and says so.
    let forged_anchor = Checkpoint { mac: Some(GENESIS.to_owned()), ..checkpoint(&forged[8]) };
    assert_eq!(found(&forged, &[forged_anchor]), Some((9, ProblemKind::BadCheckpoint)));
    let other = CheckpointKey::derive(&[8; 32]);
    let foreign = Checkpoint::new(event(0).at, forged[8].head(), Some(&other));
    assert_eq!(found(&forged, &[foreign]), Some((9, ProblemKind::BadCheckpoint)));
}

#[test]
fn a_checkpoint_that_is_not_authentic_is_left_out_and_blinds_nobody() {
    let records = chain();
    let good = [checkpoint(&records[3]), checkpoint(&records[8])];
    let bad = Checkpoint { head: Head { seq: 6, hash: GENESIS.to_owned() }, ..good[0].clone() };
    let report = check(&records, &[good.as_slice(), std::slice::from_ref(&bad)].concat());
    assert_eq!((report.records, report.checkpoints, report.unanchored), (12, 2, 3));
    let named = UnauthenticCheckpoint { seq: 6, at: bad.at, agrees: false };
    assert_eq!((report.unauthentic, report.unauthentic_checkpoints), (1, vec![named]));
    let problem = report.problem.unwrap();
    assert_eq!((problem.seq, problem.kind), (6, ProblemKind::BadCheckpoint));
    assert!(problem.message.contains("record 6 at 2023-11-14"), "{}", problem.message);
    // What is wrong with the chain itself is told first, and where the authentic ones end.
    let mut changed = records;
    changed[1].text.push(' ');
    let report = check(&changed, &[bad, good[1].clone()]);
    assert_eq!((report.records, report.unanchored, report.unauthentic), (1, 1, 1));
    assert_eq!(report.problem.map(|problem| (problem.seq, problem.kind)), Some((2, ProblemKind::Changed)));
}

#[test]
fn a_key_that_was_replaced_begins_a_new_anchor() {
    let records = chain();
    let lost = CheckpointKey::derive(&[8; 32]);
    let older = [3, 8].map(|at: usize| Checkpoint::new(event(0).at, records[at].head(), Some(&lost)));
    let report = check(&records, &older);
    assert_eq!((report.records, report.checkpoints, report.unanchored, report.unauthentic), (12, 0, 12, 2));
    assert!(report.unauthentic_checkpoints.iter().all(|one| one.agrees));
    let problem = report.problem.unwrap();
    assert_eq!((problem.seq, problem.kind), (4, ProblemKind::BadCheckpoint));
    assert!(problem.message.contains("runvoy audit head"), "{}", problem.message);
    let anchored_anew = [older.as_slice(), &[checkpoint(&records[9])]].concat();
    let report = check(&records, &anchored_anew);
    assert_eq!((report.unanchored, report.unauthentic, report.problem), (2, 2, None));
    let anew = [&records[..5], &chain_after(records[4].head(), 100..107)].concat();
    let anchored_anew = [older.as_slice(), &[checkpoint(&anew[9])]].concat();
    assert_eq!(
        found(&anew, &anchored_anew),
        Some((9, ProblemKind::BadCheckpoint)),
        "it was rewritten before"
    );
}

#[test]
fn a_kept_head_is_no_checkpoint_and_is_told_by_its_name() {
    let records = chain();
    let anchors = [checkpoint(&records[3])];
    let report = check_with(&records, &anchors, Some(records[8].head()));
    assert_eq!((report.checkpoints, report.unanchored, report.problem), (1, 3, None));
    assert_eq!(report.kept, Some(KeptHead { seq: 9, agrees: true }));
    let report = check_with(&records[..7], &anchors, Some(records[8].head()));
    assert_eq!(report.kept, Some(KeptHead { seq: 9, agrees: false }));
    let problem = report.problem.unwrap();
    assert_eq!(
        problem.message,
        "records 8 to 9 are missing: the head that was kept tells of them; nothing vouches for records 5 to 7"
    );
    let other = Head { seq: 9, hash: GENESIS.to_owned() };
    let problem = check_with(&records, &anchors, Some(other)).problem.unwrap();
    assert_eq!((problem.seq, problem.kind), (5, ProblemKind::Rewritten));
    assert_eq!(problem.message, "records 5 to 9 are not those that the head that was kept tells of");
    let empty = check_with(&[], &[], Some(Head::default()));
    assert_eq!((empty.kept, empty.problem), (Some(KeptHead { seq: 0, agrees: true }), None));
}

#[test]
fn a_number_that_no_record_has_is_found() {
    let mut records = chain();
    let forged = AuditRecord { seq: 0, ..records[4].clone() };
    records.insert(0, forged);
    assert_eq!(found(&records, &[]), Some((1, ProblemKind::Moved)));
    let mut records = chain();
    records[5].seq = 3;
    assert_eq!(found(&records, &[]), Some((6, ProblemKind::Missing)));
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", key()), "CheckpointKey(..)");
}

proptest! {
    #[test]
    fn any_changed_byte_of_any_record_is_found_in_its_place(at in 0..RECORDS, place in any::<prop::sample::Index>(), new in 0_u8..128) {
        let mut records = chain();
        let record = &mut records[at];
        let all = format!("{}{}", record.text, record.hash);
        let place = place.index(all.len());
        prop_assume!(all.is_char_boundary(place) && all.is_char_boundary(place + 1));
        prop_assume!(all.as_bytes()[place] != new);
        let split = record.text.len();
        let field = if place < split { &mut record.text } else { &mut record.hash };
        let within = if place < split { place } else { place - split };
        field.replace_range(within..=within, &char::from(new).to_string());
        prop_assert_eq!(found(&records, &[]).map(|(seq, _)| seq), Some(at as u64 + 1));
    }
}
