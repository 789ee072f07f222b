//! The same command by the engine's own client and by ours: same output, same exit code.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Mutex;

use crate::docker::{docker, server};
use crate::harness::{Server, stderr, stdout};

const BUSYBOX: &str = "runvoy-test/busybox";
const CONFIGURED: &str = "runvoy-test/configured";

/// Commands that run at the same time.
const AT_ONCE: usize = 8;

#[derive(Clone, Debug)]
enum Line {
    Shell(String),
    Args(Vec<String>),
}

#[derive(Clone, Debug)]
struct Case {
    image: &'static str,
    line: Line,
    env: BTreeMap<String, String>,
    user: Option<&'static str>,
}

impl Case {
    fn shell(text: impl Into<String>) -> Self {
        Self { image: BUSYBOX, line: Line::Shell(text.into()), env: BTreeMap::new(), user: None }
    }

    fn args(args: &[&str]) -> Self {
        let args = args.iter().copied().map(str::to_owned).collect();
        Self { line: Line::Args(args), ..Self::shell("") }
    }

    fn env(self, name: &str, value: &str) -> Self {
        Self { env: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..self }
    }

    fn by_docker(&self, host: &str) -> Output {
        let mut words: Vec<String> =
            ["run", "--rm", "--network", "host", "--security-opt", "no-new-privileges", "--entrypoint", ""]
                .map(str::to_owned)
                .into();
        words.extend(self.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        words.extend(self.user.map(|user| format!("--user={user}")));
        words.push(self.image.to_owned());
        match &self.line {
            Line::Shell(text) => words.extend(["/bin/sh", "-c", text].map(str::to_owned)),
            Line::Args(args) => words.extend(args.iter().cloned()),
        }
        docker(host, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn by_runvoy(&self, server: &Server, images: &Images) -> Output {
        let image = &images.0[&(self.image, self.user)];
        let mut words = vec!["run".to_owned(), "--image".to_owned(), image.clone()];
        words.extend(self.env.iter().map(|(name, value)| format!("--env={name}={value}")));
        match &self.line {
            Line::Shell(text) => words.extend(["--", text].map(str::to_owned)),
            Line::Args(args) => {
                words.extend(["--no-shell", "--"].map(str::to_owned));
                words.extend(args.iter().cloned());
            }
        }
        server.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// An image is registered once for each user that is wanted of it.
struct Images(BTreeMap<(&'static str, Option<&'static str>), String>);

impl Images {
    fn register(server: &Server, cases: &[Case]) -> Self {
        let mut images = BTreeMap::new();
        for case in cases {
            let number = images.len();
            images.entry((case.image, case.user)).or_insert_with(|| {
                let role = format!("--task-role=number-{number}");
                let mut words =
                    vec!["images", "register", case.image, "--cpu=0", "--memory=0", "--network=host", &role];
                words.extend(case.user.iter().flat_map(|user| ["--user", user]));
                let registered = server.run(&words);
                assert!(registered.status.success(), "{}", stderr(&registered));
                stdout(&registered).trim().to_owned()
            });
        }
        Self(images)
    }
}

fn exit_codes() -> Vec<Case> {
    let codes = (0..=20).chain([42, 100, 125, 126, 127, 128, 130, 137, 143, 254, 255]);
    codes.map(|code| Case::shell(format!("exit {code}"))).collect()
}

/// By a child: the first process of the engine's container would be deaf to them.
fn signals() -> Vec<Case> {
    let names = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM XCPU VTALRM";
    let deaths = names.split(' ').map(|name| Case::shell(format!("sh -c 'kill -{name} $$'; exit $?")));
    let caught = ["HUP", "INT", "TERM", "USR1", "QUIT"].map(|name| {
        Case::shell(format!("trap 'echo caught; exit 9' {name}; kill -{name} $$; sleep 1; echo late"))
    });
    let ignored = ["HUP", "INT", "TERM"]
        .map(|name| Case::shell(format!("trap '' {name}; sh -c 'kill -{name} $$; echo deaf'; exit 2")));
    deaths.chain(caught).chain(ignored).collect()
}

const WORDS: [&str; 32] = [
    "",
    " ",
    "a b",
    "  two  spaces  ",
    "'",
    "\"",
    "\\",
    "\\\\",
    "\\n",
    "new\nline",
    "tab\there",
    "$HOME",
    "${HOME}",
    "$(echo no)",
    "`echo no`",
    "*",
    "?",
    "[a-z]*",
    "~",
    "!",
    "#no comment",
    "a;b",
    "a&&b",
    "a|b",
    "a>b",
    "-n",
    "--",
    "%s%d",
    "ünïcödé",
    "日本語 🦀",
    "\u{1b}[31mred\u{1b}[0m",
    "it's \"both\" \\ of them",
];

fn quoting() -> Vec<Case> {
    let plain = WORDS.iter().map(|word| Case::args(&["printf", "%s|", word, "end"]));
    let quoted = WORDS.iter().map(|word| {
        let word = word.replace('\'', r"'\''");
        Case::shell(format!("printf '%s|' '{word}' end"))
    });
    let variables = WORDS.iter().map(|word| Case::shell("printf '%s|' \"$WORD\" end").env("WORD", word));
    plain.chain(quoted).chain(variables).collect()
}

fn shells() -> Vec<Case> {
    [
        "echo out; echo err >&2; echo out2; echo err2 >&2",
        "printf 'no newline'",
        "printf '\\n\\n\\n'",
        "printf 'a\\r\\nb\\r\\n'",
        "echo a | tr a b | cat",
        "false | true",
        "false || echo or",
        "true && false",
        "set -e; false; echo never",
        "set -u; echo $undefined",
        "set -x; echo traced",
        "(exit 3); echo $?",
        "exec echo replaced",
        "exec sh -c 'exit 4'",
        "echo one & wait; echo two",
        "sleep 0.2 & wait $!; echo $?",
        "f() { return 5; }; f",
        "cat <<EOF\nhere $((1+2))\nEOF",
        "for i in 1 2 3; do echo $i; done",
        "i=0; while [ $i -lt 5 ]; do i=$((i+1)); echo $i; done",
        "case x in y) echo y;; *) echo other;; esac",
        "no-such-command",
        "/etc/passwd",
        "cd /no/such/dir",
        "cat /no/such/file",
        "syntax error (",
        "kill -0 $$; echo $?",
        "echo $0 $#",
        "umask; ulimit -c; ulimit -n",
        "echo \"$(printf 'a\\n\\n')\"end",
        "test -t 1; echo $?; test -t 2; echo $?",
        "echo a > /tmp/f; cat /tmp/f; ls /tmp",
        "sleep 0.3; echo later",
        "printf a; sleep 0.3; printf b",
        "touch /tmp/x; stat -c '%u %g %a' /tmp/x",
    ]
    .map(Case::shell)
    .into()
}

fn inputs() -> Vec<Case> {
    [
        "cat",
        "cat; echo $?",
        "read x; echo $?",
        "wc -c",
        "test -t 0; echo $?",
        "dd bs=1 count=1 2>/dev/null | wc -c",
        "head -n 1; exit 6",
    ]
    .map(Case::shell)
    .into()
}

fn outputs() -> Vec<Case> {
    [
        "seq 1 100000",
        "seq 1 50000 >&2",
        "seq 1 30000; seq 1 30000 >&2",
        "head -c 4000000 /dev/zero",
        "head -c 300000 /dev/zero | tr '\\0' x",
        "head -c 65536 /dev/zero | tr '\\0' y; echo",
        "head -c 65537 /dev/zero | tr '\\0' y; echo",
        "i=0; while [ $i -lt 256 ]; do printf \"\\\\x$(printf %x $i)\"; i=$((i+1)); done",
        "printf '\\0\\1\\2\\377\\376'; printf '\\300\\200' >&2",
        "yes | head -n 200000",
        "yes '' | head -n 1000",
        "printf '%050000d' 0; echo; printf '%070000d' 1",
        "dd if=/bin/busybox bs=1M 2>/dev/null",
        "(seq 1 1000 & seq 1001 2000 >&2; wait)",
        "seq 1 10 | while read n; do echo $n; echo e$n >&2; done",
        "exec 2>&1; echo a; echo b >&2",
        "exec >&2; echo a",
        "exec 1>&-; echo lost; exit 0",
    ]
    .map(Case::shell)
    .into()
}

fn environments() -> Vec<Case> {
    // What Runvoy adds, and the name of the machine.
    let shown = "env | grep -v -E '^(HOSTNAME|CI|RUNVOY_[A-Z_]*)=' | sort";
    let images = [BUSYBOX, CONFIGURED].map(|image| Case { image, ..Case::shell(shown) });
    let set = [
        ("A", "1"),
        ("EMPTY", ""),
        ("HOME", "/elsewhere"),
        ("PATH", "/bin"),
        ("GREETING", "bye"),
        ("LONG", "x"),
    ]
    .map(|(name, value)| Case { image: CONFIGURED, ..Case::shell(shown).env(name, value) });
    let long = Case::shell("printf %s \"$LONG\" | wc -c").env("LONG", &"v".repeat(20_000));
    images.into_iter().chain(set).chain([long]).collect()
}

fn places_and_people() -> Vec<Case> {
    let commands = [
        "pwd",
        "id",
        "echo $HOME",
        "whoami",
        "touch x && echo made",
        "cat /proc/self/status | grep -E '^(Uid|Gid|Groups|CapEff|NoNewPrivs|Seccomp):'",
    ];
    let users = [
        None,
        Some("0"),
        Some("app"),
        Some("1000"),
        Some("1000:0"),
        Some("app:team"),
        Some("4321"),
        Some("4321:77"),
    ];
    let all = commands.iter().flat_map(|command| users.map(|user| (*command, user)));
    all.map(|(command, user)| Case { image: CONFIGURED, user, ..Case::shell(command) }).collect()
}

#[test]
fn commands_do_what_they_do_without_us() {
    let Some(server) = server() else { return };
    let cases = [
        exit_codes(),
        signals(),
        quoting(),
        shells(),
        inputs(),
        outputs(),
        environments(),
        places_and_people(),
    ]
    .concat();
    assert!(cases.len() > 250, "{}", cases.len());
    let images = Images::register(&server, &cases);
    let host = server.engine().unwrap();
    let (left, differing) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = { left.lock().unwrap().next() } {
                    let (docker, ours) = (case.by_docker(host), case.by_runvoy(&server, &images));
                    if docker != ours {
                        differing.lock().unwrap().push(difference(case, &docker, &ours));
                    }
                }
            });
        }
    });
    let differing = differing.into_inner().unwrap();
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}

fn difference(case: &Case, docker: &Output, ours: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..300).unwrap_or(bytes)).into_owned();
    let shown =
        |it: &Output| format!("{:?} out {:?} err {:?}", it.status.code(), text(&it.stdout), text(&it.stderr));
    format!("{case:?}\n  docker: {}\n  ours:   {}", shown(docker), shown(ours))
}
