//! Aligned text.

use std::fmt::Write as _;

/// Between columns.
const GAP: usize = 2;

/// `name: value` lines, values aligned; fields without a value are left out.
pub(crate) fn fields(fields: &[(&str, Option<String>)]) -> String {
    let shown = || {
        let present = fields.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        present.filter(|(_, value)| !value.is_empty())
    };
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0) + GAP;
    shown().fold(String::new(), |mut out, (name, value)| {
        let _ = writeln!(out, "{:width$}{}", format!("{name}:"), clean(value));
        out
    })
}

/// Rows under a heading, columns aligned. `width` cuts the last column where it would wrap.
pub(crate) fn rows<const N: usize>(head: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    Columns::under(head, width).lines(rows)
}

/// Rows that come in parts: a column becomes wider where a later part needs it.
pub(crate) struct Columns<const N: usize> {
    /// Until it was printed.
    head: Option<[String; N]>,
    widths: [usize; N],
    cut: Option<usize>,
}

impl<const N: usize> Columns<N> {
    /// Columns under a heading. `cut` cuts the last column where it would wrap.
    pub(crate) fn under(head: [&str; N], cut: Option<usize>) -> Self {
        Self { head: Some(head.map(str::to_owned)), widths: [0; N], cut }
    }

    /// The next rows; the heading stands above the first.
    pub(crate) fn lines(&mut self, rows: &[[String; N]]) -> String {
        let head = self.head.take().into_iter();
        let all: Vec<_> = head.chain(rows.iter().map(|row| row.each_ref().map(|cell| clean(cell)))).collect();
        for row in &all {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(console::measure_text_width(cell));
            }
        }
        all.iter().map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String; N]) -> String {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(self.widths).enumerate() {
            line.push_str(cell);
            let pad = width.saturating_sub(console::measure_text_width(cell)) + GAP;
            if at + 1 < N {
                line.extend(std::iter::repeat_n(' ', pad));
            }
        }
        let line = self.cut.map_or(line.as_str().into(), |width| console::truncate_str(&line, width, "…"));
        format!("{}\n", line.trim_end())
    }
}

/// Width to cut at: a terminal's; a pipe gets everything.
pub(crate) fn width() -> Option<usize> {
    let terminal = console::Term::stdout();
    terminal.size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
}

/// On one line, and without anything that drives a terminal: such characters are shown as they would be written.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_the_last_is_cut() {
        let cells = [["a".into(), "one\ntwo \u{1b}[31m".into()], ["äöü".into(), "x".repeat(30)]];
        let want = format!("ID   COMMAND\na    one\\ntwo \\u{{1b}}[31m\näöü  {}\n", "x".repeat(30));
        assert_eq!(rows(["ID", "COMMAND"], &cells, None), want);
        assert_eq!(rows(["ID", "COMMAND"], &cells, Some(10)), "ID   COMM…\na    one\\…\näöü  xxxx…\n");
    }

    #[test]
    fn a_later_part_has_no_heading_and_widens_what_it_needs() {
        let row = |first: &str| [[first.to_owned(), "x".to_owned()]];
        let mut columns = Columns::under(["ID", "C"], None);
        assert_eq!(columns.lines(&row("abc")), "ID   C\nabc  x\n");
        assert_eq!(columns.lines(&row("a")), "a    x\n");
        assert_eq!(columns.lines(&row("abcde")), "abcde  x\n");
    }

    #[test]
    fn empty_fields_are_left_out() {
        let text = fields(&[
            ("id", Some("7".into())),
            ("longer", Some("x".into())),
            ("none", None),
            ("no", Some(String::new())),
        ]);
        assert_eq!(text, "id:     7\nlonger: x\n");
    }
}
