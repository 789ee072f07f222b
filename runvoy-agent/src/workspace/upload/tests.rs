use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tar::{EntryType, Header};

use super::*;

const SMALL: Limits = Limits { bytes: 1 << 20, entries: 100 };

/// One entry, as an attacker would write it: nothing is checked or normalised.
#[derive(Clone, Debug)]
struct Raw {
    kind: u8,
    path: Vec<u8>,
    link: Vec<u8>,
    body: Vec<u8>,
    mode: u32,
}

impl Raw {
    fn new(kind: EntryType, path: &str, link: &str, body: &[u8]) -> Self {
        Self {
            kind: kind.as_byte(),
            path: path.as_bytes().to_vec(),
            link: link.as_bytes().to_vec(),
            body: body.to_vec(),
            mode: 0o644,
        }
    }

    fn file(path: &str, body: &str) -> Self {
        Self::new(EntryType::Regular, path, "", body.as_bytes())
    }

    fn write(&self, to: &mut Vec<u8>) {
        let mut header = Header::new_ustar();
        let fields = header.as_ustar_mut().unwrap();
        fields.typeflag = [self.kind];
        fields.name[..self.path.len()].copy_from_slice(&self.path);
        fields.linkname[..self.link.len()].copy_from_slice(&self.link);
        header.set_mode(self.mode);
        header.set_mtime(1_600_000_000);
        header.set_size(self.body.len() as u64);
        header.set_cksum();
        to.extend_from_slice(header.as_bytes());
        to.extend_from_slice(&self.body);
        to.resize(to.len().next_multiple_of(512), 0);
    }
}

/// A workspace with a neighbour that nobody may touch.
struct Yard {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/secret"), "untouched").unwrap();
        fs::write(dir.path().join("secret"), "untouched").unwrap();
        Self { dir, root }
    }

    fn unpack(&self, entries: &[Raw]) -> Result<(), Fault> {
        self.unpack_bytes(&packed(entries), SMALL)
    }

    fn unpack_bytes(&self, bytes: &[u8], limits: Limits) -> Result<(), Fault> {
        unpack(stored(bytes), &described(bytes), &self.root, limits)
    }

    /// Everything outside the workspace, and no link of the workspace leads there.
    fn assert_untouched(&self) {
        let mut outside = BTreeMap::new();
        for path in walk(self.dir.path()).into_iter().filter(|path| !path.starts_with(&self.root)) {
            let meta = path.symlink_metadata().unwrap();
            let text = meta.is_file().then(|| fs::read_to_string(&path).unwrap());
            outside.insert(path.strip_prefix(self.dir.path()).unwrap().to_str().unwrap().to_owned(), text);
        }
        let untouched = Some("untouched".to_owned());
        let expected = [("outside", None), ("outside/secret", untouched.clone()), ("secret", untouched)];
        assert_eq!(outside, expected.map(|(name, text)| (name.to_owned(), text)).into());
        let root = self.root.canonicalize().unwrap();
        for path in walk(&self.root) {
            let meta = path.symlink_metadata().unwrap();
            assert!(meta.is_file() || meta.is_dir() || meta.is_symlink(), "{path:?}");
            assert_eq!((u32::from(meta.is_file()) * meta.permissions().mode()) & 0o7000, 0, "{path:?}");
            if let Ok(real) = path.canonicalize() {
                assert!(real.starts_with(&root), "{path:?} leads to {real:?}");
            }
        }
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

fn packed(entries: &[Raw]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        entry.write(&mut bytes);
    }
    bytes.resize(bytes.len() + 1024, 0);
    gzipped(&bytes)
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn stored(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn described(bytes: &[u8]) -> UploadWorkspace {
    UploadWorkspace { archive: PathBuf::new(), sha256: hex(&Sha256::digest(bytes)), size: bytes.len() as u64 }
}

/// Names that attackers like, and ordinary ones that they build upon.
fn hostile_name() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "link", "secret", "outside", "root"]),
        3 => Just(".."),
        1 => prop::sample::select(vec![".", "", "/", "a/..", "...", " ", "\u{e9}", "a\nb"]),
    ];
    (prop::collection::vec(part, 1..5), prop::sample::select(vec!["", "", "", "/", "./", "../"]))
        .prop_map(|(parts, front)| format!("{front}{}", parts.join("/")).into_bytes())
}

fn hostile_entry() -> impl Strategy<Value = Raw> {
    let kind = prop::sample::select(b"00055522221113467x g\0LKS".to_vec());
    let mode = prop::sample::select(vec![0o644, 0o755, 0o4755, 0o2777, 0, 0o7777]);
    let body = prop_oneof![
        3 => Just(Vec::new()),
        2 => prop::collection::vec(any::<u8>(), 0..700),
        1 => hostile_name(),
        1 => hostile_name().prop_map(|name| pax("path", &name)),
        1 => hostile_name().prop_map(|name| pax("linkpath", &name)),
    ];
    (kind, hostile_name(), hostile_name(), body, mode).prop_map(|(kind, path, link, body, mode)| Raw {
        kind,
        path,
        link,
        body,
        mode,
    })
}

/// A record of an extension header, whose length counts itself.
fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().into_bytes(), rest].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_an_archive_holds_nothing_outside_is_touched(
        entries in prop::collection::vec(hostile_entry(), 1..12),
    ) {
        let yard = Yard::new();
        let _ = yard.unpack(&entries);
        yard.assert_untouched();
    }

    #[test]
    fn damaged_archives_touch_nothing_outside_either(
        entries in prop::collection::vec(hostile_entry(), 1..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Vec::new();
        for entry in &entries {
        entry.write(&mut bytes);
    }
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        let yard = Yard::new();
        let _ = yard.unpack_bytes(&gzipped(&bytes), SMALL);
        yard.assert_untouched();
    }
}

#[test]
fn ordinary_code_comes_out_as_it_went_in() {
    let yard = Yard::new();
    let long = format!("deep/{}/end", "d".repeat(200));
    let mut script = Raw::file("bin/run", "#!/bin/sh\n");
    script.mode = 0o4755;
    yard.unpack(&[
        Raw::new(EntryType::Directory, "empty/", "", b""),
        Raw::file("./src/main.rs", "fn main() {}"),
        script,
        Raw::new(EntryType::Symlink, "src/up", "../bin/run", b""),
        Raw::new(EntryType::Symlink, "dangling", "not/there", b""),
        Raw::new(EntryType::Link, "src/same", "bin/run", b""),
        Raw::new(EntryType::GNULongName, "././@LongLink", "", format!("{long}\0").as_bytes()),
        Raw::file("short", "long"),
        Raw::new(EntryType::XHeader, "x", "", &pax("path", "caf\u{e9}/x".as_bytes())),
        Raw::file("short", "pax"),
    ])
    .unwrap();
    let read = |name: &str| fs::read_to_string(yard.root.join(name)).unwrap();
    assert_eq!(read("src/main.rs"), "fn main() {}");
    assert_eq!((read("src/up"), read("src/same")), (read("bin/run"), read("bin/run")));
    assert_eq!((read(&long), read("caf\u{e9}/x")), ("long".to_owned(), "pax".to_owned()));
    let meta = fs::metadata(yard.root.join("bin/run")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o755);
    assert_eq!(std::os::unix::fs::MetadataExt::mtime(&meta), 1_600_000_000);
    assert!(yard.root.join("empty").is_dir() && yard.root.join("dangling").is_symlink());
    yard.assert_untouched();
}

#[test]
fn what_leads_out_is_refused_by_its_name() {
    let through = Raw::new(EntryType::Symlink, "d", "sub", b"");
    for (entries, name) in [
        (vec![Raw::file("../secret", "x")], "../secret"),
        (vec![Raw::file("a/../../secret", "x")], "a/../../secret"),
        (vec![Raw::file("/etc/owned", "x")], "/etc/owned"),
        (vec![Raw::new(EntryType::Symlink, "l", "../outside", b"")], "l"),
        (vec![Raw::new(EntryType::Symlink, "l", "/etc", b"")], "l"),
        (vec![Raw::new(EntryType::Symlink, "a/l", "../../secret", b"")], "a/l"),
        (vec![through.clone(), Raw::file("d/file", "x")], "d/file"),
        (vec![through.clone(), Raw::new(EntryType::Directory, "d/e", "", b"")], "d/e"),
        (vec![through, Raw::file("d", "x")], "d"),
        (vec![Raw::new(EntryType::Link, "l", "../secret", b"")], "l"),
        (vec![Raw::new(EntryType::Link, "l", "/etc/passwd", b"")], "l"),
        (vec![Raw::new(EntryType::Link, "l", "nowhere/file", b"")], "l"),
        (vec![Raw::new(EntryType::Fifo, "pipe", "", b"")], "pipe"),
        (vec![Raw::new(EntryType::Char, "null", "", b"")], "null"),
        (vec![Raw::new(EntryType::Block, "disk", "", b"")], "disk"),
        (vec![Raw::new(EntryType::GNUSparse, "sparse", "", b"")], "sparse"),
        (vec![Raw::file("twice", "x"), Raw::file("twice", "y")], "twice"),
        (vec![Raw::file("f", "x"), Raw::file("f/g", "y")], "f/g"),
        (
            vec![Raw::new(EntryType::XHeader, "x", "", &pax("path", b"../secret")), Raw::file("f", "x")],
            "../secret",
        ),
        (vec![Raw::new(EntryType::GNULongName, "x", "", b"/etc/owned\0"), Raw::file("f", "x")], "/etc/owned"),
    ] {
        let yard = Yard::new();
        let fault = yard.unpack(&entries).unwrap_err();
        assert!(fault.sentence.contains(&format!("`{name}`")), "{entries:?}: {}", fault.sentence);
        yard.assert_untouched();
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let big = Raw { body: vec![0; 600_000], ..Raw::file("a", "") };
    let yard = Yard::new();
    let fault = yard.unpack(&[big.clone(), Raw { path: b"b".to_vec(), ..big }]).unwrap_err();
    assert!(fault.sentence.contains("more than 1 MiB"), "{}", fault.sentence);
    assert!(!yard.root.join("b").exists());

    let many: Vec<Raw> = (0..101).map(|n| Raw::file(&format!("f{n}"), "")).collect();
    let fault = Yard::new().unpack(&many).unwrap_err();
    assert!(fault.sentence.contains("more than 100 files"), "{}", fault.sentence);

    // Directories that only lead somewhere are directories.
    let ways: Vec<Raw> = (0..30).map(|n| Raw::file(&format!("{n}/a/b/c"), "")).collect();
    let fault = Yard::new().unpack(&ways).unwrap_err();
    assert!(fault.sentence.contains("more than 100 files"), "{}", fault.sentence);
    let dirs = |n: u32| Raw::new(EntryType::Directory, &format!("{}/a/b/c", n % 25), "", b"");
    Yard::new().unpack(&(0..150).map(dirs).collect::<Vec<_>>()).unwrap();

    // A header that promises more than any limit costs nothing but its 512 bytes.
    let mut bytes = Vec::new();
    Raw::file("huge", "").write(&mut bytes);
    let mut header = Header::from_byte_slice(&bytes[..512]).clone();
    header.set_size(1 << 50);
    header.set_cksum();
    let fault = Yard::new().unpack_bytes(&gzipped(header.as_bytes()), Limits::default()).unwrap_err();
    assert!(fault.sentence.contains("more than 4096 MiB"), "{}", fault.sentence);
}

#[test]
fn endless_headers_have_an_end_and_are_not_kept() {
    let huge = Raw { body: vec![b'x'; 1 << 20], ..Raw::new(EntryType::XHeader, "x", "", b"") };
    let fault = Yard::new().unpack(&[huge]).unwrap_err();
    assert!(fault.sentence.contains("header that is too long"), "{}", fault.sentence);
    let globals = vec![Raw::new(EntryType::XGlobalHeader, "g", "", b""); 201];
    let fault = Yard::new().unpack(&globals).unwrap_err();
    assert!(fault.sentence.contains("too many headers"), "{}", fault.sentence);
    // What is skipped is unpacked, too.
    let large = Raw { body: vec![b'x'; 100_000], ..Raw::new(EntryType::XGlobalHeader, "g", "", b"") };
    let fault = Yard::new().unpack(&vec![large; 11]).unwrap_err();
    assert!(fault.sentence.contains("more than 1 MiB"), "{}", fault.sentence);
}

#[test]
fn names_without_an_end_are_refused_before_anything_is_made() {
    let named = |name: &str| {
        vec![Raw::new(EntryType::GNULongName, "x", "", name.as_bytes()), Raw::file("short", "text")]
    };
    for name in ["d/".repeat(32_000), "d/".repeat(256) + "f", "./".repeat(2048) + "f", "x".repeat(4097)] {
        let yard = Yard::new();
        let fault = yard.unpack(&named(&name)).unwrap_err();
        assert!(fault.sentence.contains("too long or too deep"), "{}", fault.sentence);
        assert_eq!(walk(&yard.root), Vec::<PathBuf>::new());
    }
    let deep = Limits { entries: 256, ..SMALL };
    let yard = Yard::new();
    yard.unpack_bytes(&packed(&named(&("d/".repeat(255) + "f"))), deep).unwrap();
    assert_eq!(walk(&yard.root).len(), 256);
}

#[test]
fn an_archive_that_is_not_what_its_name_says_is_damaged() {
    let good = packed(&[Raw::file("f", "text")]);
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let longer = [good.clone(), b"more".to_vec()].concat();
    for bytes in [flipped, longer, good[..good.len() - 1].to_vec(), b"no archive".to_vec(), Vec::new()] {
        let yard = Yard::new();
        let fault = unpack(stored(&bytes), &described(&good), &yard.root, SMALL).unwrap_err();
        assert!(fault.sentence.contains("damaged"), "{}", fault.sentence);
    }
    let yard = Yard::new();
    let fault = yard.unpack_bytes(b"no archive", SMALL).unwrap_err();
    assert!(fault.sentence.contains("no readable .tar.gz"), "{}", fault.sentence);
    // What follows the archive's end is hashed and otherwise ignored.
    yard.unpack_bytes(&[good, b"more".to_vec()].concat(), SMALL).unwrap();
}
