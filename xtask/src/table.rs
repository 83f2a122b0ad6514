//! Tables for the terminal and for reports.

use std::fmt::Write;

/// Rows of text under a heading; as wide as its cells.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self { heading: heading.iter().map(|&it| it.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as the heading has.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// With columns apart by spaces.
    pub(crate) fn plain(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in std::iter::once(&self.heading).chain(&self.rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// As Markdown, which is also easy to read as it is.
    pub(crate) fn markdown(&self) -> String {
        let widths = self.widths();
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = widths.iter().map(|width| "-".repeat(*width)).collect();
        let row = |row: &Vec<String>| {
            line(row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect())
        };
        let rows: String = self.rows.iter().map(row).collect();
        row(&self.heading) + &line(rule) + &rows
    }

    fn widths(&self) -> Vec<usize> {
        let rows = || std::iter::once(&self.heading).chain(&self.rows);
        let width =
            |column: usize| rows().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max();
        (0..self.heading.len()).map(|column| width(column).unwrap_or(0)).collect()
    }
}

/// Appends a line to a text.
pub(crate) fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("writing to a String cannot fail");
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["A", "LONG"]);
        table.row(["wide", "x"]);
        assert_eq!(table.plain(), "A     LONG\nwide  x\n");
        assert_eq!(table.markdown(), "| A    | LONG |\n| ---- | ---- |\n| wide | x    |\n");
    }
}
