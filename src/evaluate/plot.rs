//! Curves with standard-error bands as SVG, by plotters without its fonts: text is left to whoever shows the picture.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{EvaluateError, Report};

/// A picture of curves over one axis.
#[derive(Debug, Clone)]
pub struct Chart {
    /// Above the picture.
    pub title: String,
    /// Below the horizontal axis.
    pub horizontal: String,
    /// Beside the vertical axis.
    pub vertical: String,
    /// The curves, the one that matters first.
    pub curves: Vec<Curve>,
}

/// A curve of the picture.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What the legend says.
    pub name: String,
    /// (x, mean, standard error where there is one), by x.
    pub points: Vec<(f64, f64, Option<f64>)>,
}

const SIZE: (u32, u32) = (960, 560);
const LEGEND: u32 = 190;
const FONT: &str = "sans-serif";
/// Colours that people with colour blindness tell apart (Okabe and Ito), then darker ones.
const COLOURS: [RGBColor; 13] = [
    RGBColor(0, 90, 160),
    RGBColor(213, 94, 0),
    RGBColor(90, 90, 90),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 60, 20),
    RGBColor(150, 0, 60),
    RGBColor(0, 0, 0),
    RGBColor(110, 110, 220),
    RGBColor(130, 160, 40),
    RGBColor(180, 180, 180),
];

impl Chart {
    /// The learning curves of a report.
    pub fn of_report(report: &Report, title: String) -> Self {
        let mut curves: Vec<Curve> = Vec::new();
        for point in &report.curves {
            let at = (point.answers as f64, point.auc_mean, point.auc_se);
            match curves.iter_mut().find(|curve| curve.name == point.method.name()) {
                Some(curve) => curve.points.push(at),
                None => curves.push(Curve { name: point.method.name().to_owned(), points: vec![at] }),
            }
        }
        Self { title, horizontal: "answers".into(), vertical: "AUC-ROC, held-out comparisons".into(), curves }
    }

    /// The picture as an SVG document.
    ///
    /// # Errors
    /// Nothing to draw.
    pub fn svg(&self) -> Result<String, EvaluateError> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            self.draw(&root).map_err(|error| EvaluateError::Plot { error: error.to_string() })?;
        }
        Ok(svg)
    }

    fn draw<B: DrawingBackend>(
        &self,
        root: &DrawingArea<B, plotters::coord::Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        root.fill(&WHITE)?;
        let (left, legend) = root.split_horizontally(SIZE.0 - LEGEND);
        let (x, y) = self.ranges();
        let mut chart = ChartBuilder::on(&left)
            .caption(&self.title, (FONT, 20))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc(&self.horizontal)
            .y_desc(&self.vertical)
            .axis_desc_style((FONT, 16))
            .label_style((FONT, 14))
            .y_label_formatter(&|y| format!("{y:.2}"))
            .draw()?;
        // The first curve is drawn last, on top.
        for (at, curve) in self.curves.iter().enumerate().rev() {
            let colour = COLOURS[at % COLOURS.len()];
            let known = |sign: f64| {
                curve.points.iter().filter_map(move |&(x, mean, se)| Some((x, mean + sign * se?)))
            };
            let band: Vec<(f64, f64)> =
                known(1.0).chain(known(-1.0).collect::<Vec<_>>().into_iter().rev()).collect();
            if band.len() > 2 {
                chart.draw_series(std::iter::once(Polygon::new(band, colour.mix(0.13))))?;
            }
            let width = if at == 0 { 3 } else { 2 };
            let line = curve.points.iter().map(|&(x, mean, _)| (x, mean));
            chart.draw_series(LineSeries::new(line.clone(), colour.stroke_width(width)))?;
            chart.draw_series(line.map(|point| Circle::new(point, 3, colour.filled())))?;
        }
        let text = TextStyle::from((FONT, 15)).pos(Pos::new(HPos::Left, VPos::Center));
        for (at, curve) in self.curves.iter().enumerate() {
            let (y, colour) = (60 + 24 * at as i32, COLOURS[at % COLOURS.len()]);
            let width = if at == 0 { 3 } else { 2 };
            legend.draw(&PathElement::new([(8, y), (36, y)], colour.stroke_width(width)))?;
            legend.draw(&Text::new(curve.name.clone(), (44, y), text.clone()))?;
        }
        root.present()
    }

    /// What the axes must show, with some room.
    fn ranges(&self) -> (std::ops::Range<f64>, std::ops::Range<f64>) {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let span = |values: &mut dyn Iterator<Item = f64>| {
            let (low, high) =
                values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (v.min(a), v.max(b)));
            if low <= high { (low, high) } else { (0.0, 1.0) }
        };
        let (x0, x1) = span(&mut points().map(|p| p.0));
        let edges = |&(_, mean, se): &(f64, f64, Option<f64>)| {
            let se = se.unwrap_or(0.0);
            [mean - se, mean + se]
        };
        let (y0, y1) = span(&mut points().flat_map(edges));
        let room = |low: f64, high: f64| (0.04 * (high - low)).max(1e-3);
        let (x, y) = (room(x0, x1), room(y0, y1));
        (x0 - x..x1 + x, y0 - y..y1 + y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_is_drawn_with_its_band_and_named() {
        let curve = |name: &str, lift: f64| Curve {
            name: name.to_owned(),
            points: (0..4).map(|n| (f64::from(n * 5), 0.6 + lift * f64::from(n), Some(0.01))).collect(),
        };
        let chart = Chart {
            title: "A < B".into(),
            horizontal: "answers".into(),
            vertical: "AUC".into(),
            curves: vec![curve("pref", 0.05), curve("classic", 0.0)],
        };
        let svg = chart.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for word in ["pref", "classic", "answers", "AUC", "A &lt; B"] {
            assert!(svg.contains(word), "{word}");
        }
        assert_eq!(svg.matches("<polygon").count(), 2, "a band for each curve");
        assert_eq!(svg.matches("<circle").count(), 8);
    }

    #[test]
    fn nothing_and_a_single_point_without_error_are_drawn_too() {
        let mut chart =
            Chart { title: String::new(), horizontal: "x".into(), vertical: "y".into(), curves: vec![] };
        assert!(chart.svg().is_ok());
        chart.curves.push(Curve { name: "one".into(), points: vec![(3.0, 0.5, None)] });
        assert!(chart.svg().unwrap().contains("<circle"));
    }
}
