//! A report as continuous integration reads it.

use std::fmt::Write as _;

use super::report::{Failed, Report};

/// The report as a document of XML: a case for each kept scenario, for each seed
/// that failed, and one for all the others.
pub(crate) fn document(report: &Report) -> String {
    let of_seeds = report.failures.iter().filter(|f| f.seed.is_some());
    let of_seeds: Vec<_> = of_seeds.collect();
    let tests = report.kept.len() + of_seeds.len() + 1;
    let failures = report.failures.len();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // A String takes whatever is written.
    let _ = writeln!(
        xml,
        "<testsuite name=\"sim\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{:.3}\">",
        report.seconds
    );
    let _ = writeln!(
        xml,
        "<properties><property name=\"version\" value=\"{}\"/><property name=\"seeds\" value=\"{}\"/></properties>",
        escaped(&report.version),
        report.seeds
    );
    for name in &report.kept {
        let mut of_file = report.failures.iter().filter(|f| f.seed.is_none());
        case(
            &mut xml,
            "scenarios",
            name,
            of_file.find(|f| f.what == *name),
        );
    }
    for failed in &of_seeds {
        case(&mut xml, "seeds", &failed.what, Some(failed));
    }
    let passed = report.seeds.saturating_sub(of_seeds.len() as u64);
    case(
        &mut xml,
        "seeds",
        &format!("{passed} seeds that passed"),
        None,
    );
    xml.push_str("</testsuite>\n");
    xml
}

fn case(xml: &mut String, class: &str, name: &str, failed: Option<&Failed>) {
    let name = escaped(name);
    let _ = write!(xml, "<testcase classname=\"sim.{class}\" name=\"{name}\">");
    if let Some(failed) = failed {
        let (message, text) = (escaped(&failed.signature), escaped(&failed.told()));
        let _ = write!(xml, "<failure message=\"{message}\">{text}</failure>");
    }
    xml.push_str("</testcase>\n");
}

/// Text between tags or quotes; what XML has no way to write becomes a �.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::About;
    use super::*;

    #[test]
    fn markup_and_control_characters_do_not_break_the_document() {
        let text = "<b>&\"\u{1b}[31m\u{0}";
        let failed = Failed::of_seed(7, About::default(), "a \"rule\"", text);
        let report = Report {
            seeds: 3,
            failures: vec![failed],
            ..Report::default()
        };
        let document = document(&report);
        assert!(
            document.contains("message=\"a &quot;rule&quot;\""),
            "{document}"
        );
        assert!(
            document.contains("&lt;b&gt;&amp;&quot;\u{fffd}[31m\u{fffd}"),
            "{document}"
        );
        assert!(
            document.contains("tests=\"2\" failures=\"1\""),
            "{document}"
        );
        assert!(document.contains("2 seeds that passed"), "{document}");
    }
}
