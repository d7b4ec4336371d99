//! The whole of a run, as a file and plots beside it.

use std::fmt::Write;
use std::path::Path;

use super::machine::machine;
use super::{Plot, Table};

/// What a workload shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    pub(crate) tables: Vec<Table>,
    pub(crate) plots: Vec<Plot>,
}

impl From<Table> for Results {
    fn from(table: Table) -> Self {
        Self {
            tables: vec![table],
            plots: Vec::new(),
        }
    }
}

impl Results {
    pub(crate) fn with(mut self, plot: Plot) -> Self {
        self.plots.push(plot);
        self
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.tables.extend(other.tables);
        self.plots.extend(other.plots);
    }

    /// Writes a file into the folder, and the plots below it.
    pub(crate) fn write(&self, folder: &Path) {
        let plots = folder.join("plots");
        std::fs::create_dir_all(&plots).expect("the folder can be made");
        for plot in &self.plots {
            plot.draw(&plots);
        }
        std::fs::write(folder.join("RESULTS.md"), self.to_markdown())
            .expect("the file can be written");
    }

    fn to_markdown(&self) -> String {
        let mut text = String::from(
            "# Results\n\nWritten by `cargo run --release -p benches`; what the columns mean is in `README.md`.\n\
             Only figures of the same table can be compared, and only ratios carry over to other machines.\n\n",
        );
        text.push_str(&machine());
        for table in &self.tables {
            let _ = write!(text, "\n{}", table.to_markdown());
        }
        text.push_str("\n## Plots\n\n");
        for plot in &self.plots {
            let _ = writeln!(text, "![{}](plots/{}.svg)\n", plot.title, plot.name);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}
