//! Secrets through the whole agent.

use runvoy_task::block::Stream;

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
