//! Text and build logs of any length, the same every time: documents of this repository, and lines as tools write
//! them, with their times, paths, digests, identifiers and encoded blobs.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Numbers that only look random.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.roll() >> 16) % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let at = self.below(from.len() as u64);
        usize::try_from(at).ok().and_then(|at| from.get(at)).copied().unwrap_or_default()
    }

    /// So many characters of an alphabet.
    pub(crate) fn text(&mut self, alphabet: &str, length: u64) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        let mut one = || usize::try_from(self.below(letters.len() as u64)).ok();
        (0..length).filter_map(|_| one().and_then(|at| letters.get(at))).collect()
    }
}

pub(crate) const HEX: &str = "0123456789abcdef";
pub(crate) const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const WORDS: &[&str] = &[
    "serde", "network", "subnet", "module", "cache", "layer", "plan", "apply", "worker", "index", "token",
    "secret", "password", "api_key", "deploy", "release", "service", "gateway", "queue", "bucket", "policy",
    "role",
];

/// Writes at least so many bytes.
pub(crate) fn write(least: u64, out: &mut impl Write) -> io::Result<()> {
    let mut dice = Dice::new(1);
    let mut written = 0;
    for text in documents() {
        out.write_all(text.as_bytes())?;
        written += text.len() as u64;
    }
    while written < least {
        let mut block = String::new();
        let kind = dice.below(8);
        for _ in 0..40 {
            line(kind, &mut dice, &mut block);
        }
        out.write_all(block.as_bytes())?;
        written += block.len() as u64;
    }
    Ok(())
}

/// What this repository has in words: fixed for a commit of it.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut names = vec!["LICENSE".into(), "Cargo.lock".into(), "README.md".into(), "SECURITY.md".into()];
    for directory in ["docs", "runvoy-core/src", "runvoy-agent/src"] {
        let entries = fs::read_dir(root.join(directory)).into_iter().flatten().flatten();
        names.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    names.sort();
    names.iter().filter_map(|name| fs::read_to_string(root.join(name)).ok()).collect()
}

/// One line as a tool of some kind writes it.
fn line(kind: u64, dice: &mut Dice, out: &mut String) {
    let (number, big) = (dice.below(1000), dice.below(1 << 40));
    let (word, other) = (dice.pick(WORDS), dice.pick(WORDS));
    let hex = dice.text(HEX, 64);
    let short = hex.get(..12).unwrap_or_default();
    let stamp = format!(
        "2026-0{}-1{}T0{}:{:02}:{:02}.{number:03}Z",
        1 + big % 9,
        big % 10,
        big % 7,
        big % 60,
        number % 60
    );
    let line = match kind {
        0 => format!(
            "   Compiling {word}-{other} v{}.{}.{number} (/builds/{word}/{short})\n",
            big % 9,
            big % 70
        ),
        1 => {
            format!("{stamp} INFO {word}::{other}: request_id={hex} status=200 took={number}ms bytes={big}\n")
        }
        2 => format!(
            "#{} [{word} {number}/900] RUN make {other} && sha256:{hex}\n#{} DONE {}.{number}s\n",
            big % 40,
            big % 40,
            big % 100
        ),
        3 => format!(
            "\u{1b}[1m\u{1b}[32m{word}.{other}[{number}]: Still creating... [id={short}, {number}s elapsed]\u{1b}[0m\r\n"
        ),
        4 => format!(
            "{{\"time\":\"{stamp}\",\"level\":\"debug\",\"{word}\":\"{short}\",\"n\":{big},\"u\":\"https://{other}.example.com/a%20b?x={hex}\"}}\n"
        ),
        5 => format!("{}\n", dice.text(BASE64, 76)),
        6 => format!(
            "/usr/src/{word}/{other}.c:{number}:{}: warning: unused variable \u{2018}{word}_{short}\u{2019} [-Wunused]\r",
            big % 80
        ),
        _ => format!(
            "npm warn {word}@{}.{}.{number}: integrity sha512-{}== {}-{short}\n",
            big % 9,
            big % 30,
            dice.text(BASE64, 86),
            hex.get(12..20).unwrap_or_default()
        ),
    };
    *out += &line;
}
