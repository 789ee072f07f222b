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
    let mut verifier = Verifier::new(checkpoints.to_vec(), Some(&key()));
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
    let forged_anchor = Checkpoint { mac: Some(GENESIS.to_owned()), ..checkpoint(&forged[8]) };
    assert_eq!(found(&forged, &[forged_anchor]), Some((9, ProblemKind::BadCheckpoint)));
    let other = CheckpointKey::derive(&[8; 32]);
    let foreign = Checkpoint::new(event(0).at, forged[8].head(), Some(&other));
    assert_eq!(found(&forged, &[foreign]), Some((9, ProblemKind::BadCheckpoint)));
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
