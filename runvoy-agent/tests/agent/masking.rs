//! Secrets through the whole agent.

use runvoy_task::block::Stream;

use crate::corpus::{self, BASE64, Dice, HEX};
use crate::task::{Log, Task, eventually};

#[test]
fn secrets_are_masked_on_both_streams_across_writes() {
    let task = Task::shell(
        "printf 'a hunter'; sleep 0.3; echo '22 b'; echo hunter22hunter22 >&2; printf hunter22 | base64; \
         printf 'xhunter22y' | base64 | sed 's/./&\\n/3'; printf hunter2",
    )
    .with(|spec| spec.mask = vec!["hunter22".to_owned()]);
    let (end, log) = task.run();
    assert_eq!(log.stderr(), "******\n");
    let stdout = log.stdout();
    assert!(stdout.starts_with("a *** b\n***\n"), "{stdout}");
    assert!(stdout.ends_with("hunter2"), "what only began like a secret is shown: {stdout}");
    assert_eq!(end.replacements, 5);
    log.assert_agrees(&end);
}

#[test]
fn a_secret_too_short_is_remarked_upon_and_not_named() {
    let task =
        Task::shell("echo abc abcd").with(|spec| spec.mask = vec!["abc".to_owned(), "abcd".to_owned()]);
    let (_, log) = task.run();
    assert_eq!(log.stderr(), "runvoy: a secret shorter than 4 characters is not masked\n");
    assert_eq!(log.stdout(), "abc ***\n");
}

#[test]
fn a_line_that_ends_like_a_secret_begins_is_not_held() {
    // "c2Vj" is how the base64 of the secret begins, "sec" how the secret does.
    let task = Task::shell("echo abc; while [ ! -e go ]; do sleep 0.01; done; printf 'sec'; echo x")
        .with(|spec| spec.mask = vec!["secret-value".to_owned()]);
    let mut agent = task.start();
    eventually("the line", || (Log::read_running(&task.dir).bytes(Stream::Stdout) == b"abc\n").then_some(()));
    std::fs::write(task.work("go"), "").unwrap();
    agent.end();
    assert_eq!(task.log().stdout(), "abc\nsecx\n");
}

#[test]
fn secrets_of_the_largest_size_are_masked() {
    let secret: String = (0..8192).map(|n| char::from(b'a' + u8::try_from(n * n % 23).unwrap())).collect();
    let task = Task::shell("cat value; echo; base64 value").with(|spec| spec.mask = vec![secret.clone()]);
    std::fs::write(task.work("value"), &secret).unwrap();
    let (end, log) = task.run();
    assert_eq!(log.stdout(), "***\n***\n");
    assert_eq!(end.replacements, 2);
}

#[test]
fn endless_empty_lines_are_not_held() {
    // "c" is how the base64 of the secret begins, and empty lines could go on to break it.
    let task = Task::shell("printf c; yes '' | head -n 600000; echo end")
        .with(|spec| spec.mask = vec!["secret-value".to_owned()]);
    let (end, log) = task.run();
    assert!(log.stdout() == format!("c{}end\n", "\n".repeat(600_000)), "output differs");
    assert_eq!(end.replacements, 0);
}

/// Twenty secrets as they are handed out: random, of 16 characters and more.
fn random_secrets() -> Vec<String> {
    let alphanumeric = &BASE64[..62];
    let symbols = format!("{alphanumeric}!$%&()*+,-./:;<=>?@[]^_{{|}}~");
    let mut dice = Dice::new(7);
    let kinds = [
        (alphanumeric, 16),
        (HEX, 16),
        (&BASE64[..26], 16),
        ("0123456789", 20),
        (&symbols, 16),
        (HEX, 32),
        (BASE64, 24),
        (BASE64, 40),
        (&symbols, 32),
        (HEX, 64),
    ];
    kinds.iter().chain(&kinds).map(|(alphabet, length)| dice.text(alphabet, *length)).collect()
}

/// Writes text and logs into the working directory; answers its bytes.
fn corpus(task: &Task, least: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    corpus::write(least, &mut bytes).unwrap();
    std::fs::write(task.work("corpus"), &bytes).unwrap();
    bytes
}

#[test]
fn not_one_run_in_100_mb_of_text_and_logs_is_taken_for_a_secret() {
    let task = Task::shell("cat corpus").with(|spec| spec.mask = random_secrets());
    assert_eq!(task.spec.mask.len(), 20);
    let bytes = corpus(&task, 100_000_000);
    let (end, log) = task.run();
    assert_eq!((end.exit_code, end.replacements), (Some(0), 0));
    assert!(log.bytes(Stream::Stdout) == bytes, "not a byte is changed");
    assert_eq!(end.hash, blake3::hash(&bytes).to_hex().to_string());
    log.assert_agrees(&end);
}

#[test]
fn the_end_record_counts_what_the_log_lacks() {
    let task = Task::shell("cat corpus").with(|spec| spec.mask = random_secrets());
    let text = corpus(&task, 4_000_000);
    let (mut mixed, mut expected, mut count) = (Vec::new(), Vec::new(), 0);
    let mut dice = Dice::new(3);
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((usize::try_from(dice.below(3000)).unwrap() + 1).min(rest.len()));
        rest = after;
        let secret = &task.spec.mask[usize::try_from(dice.below(20)).unwrap()];
        mixed.extend([piece, b" ", secret.as_bytes(), b" "].concat());
        expected.extend([piece, b" *** "].concat());
        count += 1;
    }
    std::fs::write(task.work("corpus"), &mixed).unwrap();
    let (end, log) = task.run();
    assert_eq!(end.replacements, count);
    assert!(log.bytes(Stream::Stdout) == expected, "only secrets are replaced");
    assert_eq!(end.hash, blake3::hash(&expected).to_hex().to_string());
    log.assert_agrees(&end);
}
