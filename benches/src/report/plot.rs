//! Plots as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

/// Values of several, beside each other.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Its file's name, without the ending.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A bar for each, on a logarithmic scale.
    Bars {
        unit: &'static str,
        bars: Vec<(String, f64)>,
    },
    /// A line for each through its points, over a logarithmic axis.
    Lines {
        x: &'static str,
        y: &'static str,
        lines: Vec<Line>,
    },
}

/// A name, and points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), Box<dyn Error + 'a>>;

const SIZE: (u32, u32) = (800, 400);
/// Of the lines, in their order.
const COLORS: [RGBColor; 4] = [
    RGBColor(110, 110, 110),
    RGBColor(31, 90, 180),
    RGBColor(200, 80, 0),
    RGBColor(20, 130, 70),
];
const FONT: (&str, u32) = ("sans-serif", 14);

impl Plot {
    /// Draws it into a folder.
    pub(crate) fn draw(&self, folder: &Path) {
        let path = folder.join(format!("{}.svg", self.name));
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        let drawn = self.draw_on(&area);
        drawn.expect("a plot of finite numbers can be drawn");
    }

    fn draw_on<'a>(&self, area: &Area<'a>) -> Drawn<'a> {
        area.fill(&WHITE)?;
        let area = area.titled(&self.title, ("sans-serif", 18))?;
        match &self.kind {
            Kind::Bars { unit, bars } => draw_bars(&area, unit, bars)?,
            Kind::Lines { x, y, lines } => draw_lines(&area, [x, y], lines)?,
        }
        area.present()?;
        Ok(())
    }
}

fn draw_bars<'a>(area: &Area<'a>, unit: &str, bars: &[(String, f64)]) -> Drawn<'a> {
    let values = || {
        bars.iter()
            .map(|(_, value)| *value)
            .filter(|value| *value > 0.0)
    };
    let least = values().fold(f64::MAX, f64::min) / 2.0;
    let most = values().fold(least * 2.0, f64::max) * 2.0;
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..bars.len() as f64, (least..most).log_scale())?;
    let label = |at: &f64| {
        let bar = bars.get(*at as usize).filter(|_| at.fract() == 0.5);
        bar.map_or_else(String::new, |(name, _)| name.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc(unit)
        .label_style(FONT)
        .draw()?;
    for (place, (_, value)) in bars.iter().enumerate() {
        let (left, right) = (place as f64 + 0.2, place as f64 + 0.8);
        let bar = Rectangle::new([(left, least), (right, *value)], BLUE.mix(0.6).filled());
        chart.draw_series([bar])?;
        let middle = place as f64 + 0.5;
        let text = format!("{} {}", label(&middle), super::share(*value));
        let above = (place as f64 + 0.1, *value * 1.4);
        chart.draw_series([Text::new(text, above, ("sans-serif", 12))])?;
    }
    Ok(())
}

/// The vertical axis begins at 0: what is flat is to look flat.
fn draw_lines<'a>(area: &Area<'a>, [x, y]: [&str; 2], lines: &[Line]) -> Drawn<'a> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let least = points().map(|(x, _)| *x).fold(f64::MAX, f64::min);
    let most = points().map(|(x, _)| *x).fold(least * 2.0, f64::max);
    let highest = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .margin_right(30)
        .x_label_area_size(50)
        .y_label_area_size(70)
        .build_cartesian_2d((least..most).log_scale(), 0.0..highest * 1.2)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|count| super::share(*count))
        .label_style(FONT)
        .draw()?;
    for (place, (name, points)) in lines.iter().enumerate() {
        let color = COLORS[place % COLORS.len()].stroke_width(2);
        let line = LineSeries::new(points.iter().copied(), color).point_size(4);
        let shown = chart.draw_series(line)?;
        shown
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .label_font(FONT)
        .draw()?;
    Ok(())
}
