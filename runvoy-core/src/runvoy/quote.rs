/// An argument vector as one line that a POSIX shell reads back as the same vector.
pub(crate) fn join(args: &[String]) -> String {
    args.iter().map(|arg| quote(arg)).collect::<Vec<_>>().join(" ")
}

fn quote(arg: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&b);
    if !arg.is_empty() && arg.bytes().all(plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shell_reads_the_same_vector() {
        let args = ["echo", "", "a b", "it's", "$(x)", "ä\n"].map(str::to_owned);
        assert_eq!(super::join(&args), "echo '' 'a b' 'it'\\''s' '$(x)' 'ä\n'");
    }
}
