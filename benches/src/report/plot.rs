//! Plots as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

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
    /// A bar for each.
    Bars {
        unit: &'static str,
        scale: Scale,
        bars: Vec<Bar>,
    },
    /// A line for each through its points, over a logarithmic axis.
    Lines {
        x: &'static str,
        y: &'static str,
        lines: Vec<Line>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Logarithmic,
}

/// A name, and a value.
pub(crate) type Bar = (String, f64);
/// A name, and points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<'a> = Result<(), Box<dyn Error + 'a>>;

const SIZE: (u32, u32) = (800, 400);
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
            Kind::Bars { unit, scale, bars } => draw_bars(&area, unit, *scale, bars)?,
            Kind::Lines { x, y, lines } => draw_lines(&area, [x, y], lines)?,
        }
        area.present()?;
        Ok(())
    }
}

/// Costs of peers are many times each other's, rates are not.
fn draw_bars<'a>(area: &Area<'a>, unit: &str, scale: Scale, bars: &[Bar]) -> Drawn<'a> {
    let values = || bars.iter().map(|(_, value)| *value);
    let highest = values().fold(f64::MIN_POSITIVE, f64::max);
    match scale {
        Scale::Linear => draw_bars_on(area, unit, bars, 0.0, 0.0..highest * 1.1),
        Scale::Logarithmic => {
            let positive = values().filter(|value| *value > 0.0);
            let floor = positive.fold(highest, f64::min) / 2.0;
            draw_bars_on(area, unit, bars, floor, (floor..highest * 1.5).log_scale())
        }
    }
}

fn draw_bars_on<'a, Y>(area: &Area<'a>, unit: &str, bars: &[Bar], floor: f64, y: Y) -> Drawn<'a>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..bars.len() as f64, y)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .y_desc(unit)
        .y_label_formatter(&|value| super::share(*value))
        .x_labels(0)
        .y_labels(5)
        .label_style(FONT)
        .draw()?;
    let font = FONT.into_font();
    let text = |vertical| TextStyle::from(font.clone()).pos(Pos::new(HPos::Center, vertical));
    let (above, below) = (text(VPos::Bottom), text(VPos::Top));
    for (place, (name, value)) in bars.iter().enumerate() {
        let left = place as f64;
        let corners = [(left + 0.2, floor), (left + 0.8, *value)];
        chart.draw_series([Rectangle::new(corners, color_of(name).filled())])?;
        let value_text = Text::new(super::share(*value), (0, -4), above.clone());
        chart.draw_series([EmptyElement::at((left + 0.5, *value)) + value_text])?;
        let name_text = Text::new(name.clone(), (0, 8), below.clone());
        chart.draw_series([EmptyElement::at((left + 0.5, floor)) + name_text])?;
    }
    Ok(())
}

/// The limit, asyncserver, and its peers differ.
fn color_of(contender: &str) -> RGBColor {
    match contender {
        "tarpc" | "tonic" => COLORS[2],
        limit if limit.starts_with("raw") => COLORS[0],
        _ => COLORS[1],
    }
}

/// The same contender has the same color in all plots.
fn line_color(contender: &str) -> RGBColor {
    match contender {
        "raw" => COLORS[0],
        "auto" => COLORS[1],
        "local" => COLORS[2],
        _ => COLORS[3],
    }
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
        .light_line_style(TRANSPARENT)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|count| count.to_string())
        .label_style(FONT)
        .draw()?;
    for (name, points) in lines {
        let color = line_color(name).stroke_width(2);
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
