//! Draws plots for a terminal of eighty columns.

use kit::output::count;

const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Values side by side, as many as there is room for: where there are more, each column is the mean
/// of some. The scale stands on the left, and lines are no longer than `width`.
pub fn columns(values: &[f64], width: usize, height: usize) -> Vec<String> {
    let top = values.iter().copied().fold(0.0, f64::max);
    let scale = count(whole(top));
    let margin = scale.chars().count() + 2;
    let values = squeezed(values, width.saturating_sub(margin).max(1));
    let line = |row: usize| {
        let label = if row + 1 == height { scale.as_str() } else { "" };
        let cells = values.iter().map(|value| cell(value / top, row, height));
        let line = format!("{label:>0$} ┤", margin - 2) + &cells.collect::<String>();
        line.trim_end().to_owned()
    };
    let mut lines: Vec<_> = (0..height).rev().map(line).collect();
    lines.push(format!("{:>1$} └", 0, margin - 2) + &"─".repeat(values.len()));
    lines
}

/// A bar of so many columns at most, and of one that can be seen where the value is not 0.
pub fn bar(value: f64, top: f64, width: usize) -> String {
    if value <= 0.0 || top <= 0.0 {
        return String::new();
    }
    let eighths = whole(value / top * float(width) * 8.0).clamp(1, width * 8);
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}

/// The part of a column in this row, from the bottom.
fn cell(share: f64, row: usize, height: usize) -> char {
    let filled = whole(share * float(height) * 8.0);
    EIGHTHS[filled.saturating_sub(row * 8).min(8)]
}

fn squeezed(values: &[f64], columns: usize) -> Vec<f64> {
    let each = values.len().div_ceil(columns).max(1);
    values.chunks(each).map(|some| some.iter().sum::<f64>() / float(some.len())).collect()
}

const fn float(number: usize) -> f64 {
    number as f64
}

fn whole(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_is_as_wide_as_the_screen_and_no_wider() {
        for number in [1, 5, 73, 74, 75, 1000] {
            let values = vec![1234.0; number];
            let lines = columns(&values, 80, 4);
            assert_eq!(lines.len(), 5);
            assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:#?}");
            assert!(lines[0].starts_with("1,234 ┤█"), "{lines:#?}");
        }
    }

    #[test]
    fn a_column_is_as_high_as_its_value() {
        let lines = columns(&[0.0, 4.0, 8.0], 40, 2);
        assert_eq!(lines, ["8 ┤  █", "  ┤ ██", "0 └───"]);
        assert_eq!(columns(&[1.0, 2.0], 40, 1), ["2 ┤▄█", "0 └──"]);
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        assert_eq!(bar(50.0, 100.0, 4), "██");
        assert_eq!(bar(100.0, 100.0, 4), "████");
        assert_eq!(bar(0.001, 100.0, 4), "▏", "it can be seen");
        assert_eq!(bar(0.0, 100.0, 4), "");
        assert_eq!(bar(1.0, 0.0, 4), "");
    }
}
