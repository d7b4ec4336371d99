//! Tables, as text for a terminal and as Markdown.

use std::fmt::Write;

/// A table with a title, and notes below it.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
    pub(crate) notes: Vec<String>,
}

impl Table {
    pub(crate) fn new<const N: usize>(title: impl Into<String>, header: [&str; N]) -> Self {
        Self {
            title: title.into(),
            header: header.map(str::to_owned).into(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert_eq!(N, self.header.len(), "a cell for each column");
        self.rows.push(cells.into());
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("{}\n", self.title);
        let widths = self.widths();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let missing = " ".repeat(width - cell.chars().count());
                let (left, right) = if column == 0 {
                    (cell.as_str(), missing.as_str())
                } else {
                    (missing.as_str(), cell.as_str())
                };
                let _ = write!(text, "  {left}{right}");
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "  {note}");
        }
        text
    }

    pub(crate) fn to_markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        let _ = writeln!(text, "| {} |", self.header.join(" | "));
        let _ = writeln!(text, "|---{}|", "|--:".repeat(self.header.len() - 1));
        for row in &self.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = 0..self.header.len();
        let rows = || std::iter::once(&self.header).chain(&self.rows);
        let width =
            |column: usize| rows().map(move |row: &Vec<String>| row[column].chars().count());
        columns
            .map(|column| width(column).max().unwrap_or(0))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_table_is_aligned_as_text_and_piped_as_markdown() {
        let mut table = Table::new("Title", ["who", "µs"]);
        table.row(["raw".into(), "0.5".into()]);
        table.row(["asyncserver".into(), "10.5".into()]);
        table.note("A note.");
        let text =
            "Title\n  who            µs\n  raw           0.5\n  asyncserver  10.5\n  A note.\n";
        assert_eq!(table.to_text(), text);
        let markdown = "### Title\n\n| who | µs |\n|---|--:|\n| raw | 0.5 |\n| asyncserver | 10.5 |\n\nA note.\n";
        assert_eq!(table.to_markdown(), markdown);
    }
}
