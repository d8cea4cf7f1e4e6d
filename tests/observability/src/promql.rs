//! Parses as much of PromQL as is needed to list the metrics and labels of a query. `promtool`
//! checks the syntax (`make alerts`).

/// `metric{label="…"}`, or a metric alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub metric: String,
    pub labels: Vec<String>,
}

/// Keywords that may stand where a metric may.
const WORDS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "inf"];
/// These keywords have labels in brackets after them, and no query.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// The metrics that a query selects, and the labels that it groups by.
pub fn selectors(query: &str) -> (Vec<Selector>, Vec<String>) {
    let (mut found, mut grouped) = (Vec::new(), Vec::new());
    let mut rest = query;
    while let Some(next) = rest.chars().next() {
        if next == '"' {
            rest = behind(&rest[1..], '"');
        } else if next == '[' {
            rest = behind(rest, ']');
        } else if next.is_ascii_digit() {
            // A number, or a duration such as 5m.
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_name(next) {
            let (word, behind_it) = split(rest);
            rest = behind_it.trim_start();
            if GROUPINGS.contains(&word) && rest.starts_with('(') {
                let labels = rest[1..].split(')').next().unwrap_or_default().split(',');
                grouped.extend(labels.map(|label| label.trim().to_owned()));
                rest = behind(rest, ')');
            } else if !calls(rest) && !WORDS.contains(&word) {
                let (labels, behind_them) = matched(rest);
                found.push(Selector { metric: word.to_owned(), labels });
                rest = behind_them;
            }
        } else {
            rest = &rest[next.len_utf8()..];
        }
    }
    (found, grouped)
}

/// Whether the word before it is a function: `rate (…)`, `sum by (…)`.
fn calls(rest: &str) -> bool {
    ["(", "by ", "by(", "without ", "without("].iter().any(|start| rest.starts_with(start))
}

/// The labels in `{…}`, whose values may hold anything but quotation marks.
fn matched(text: &str) -> (Vec<String>, &str) {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (labels, text);
    };
    loop {
        rest = rest.trim_start_matches([' ', ',', '\n']);
        match rest.chars().next() {
            Some(c) if is_name(c) => {
                let (label, behind_it) = split(rest);
                labels.push(label.to_owned());
                rest = behind(behind(behind_it, '"'), '"');
            }
            _ => return (labels, behind(rest, '}')),
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()))
}

fn behind(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_and_labels_are_told_from_the_rest() {
        let query = r#"histogram_quantile(0.95, sum by (le, call) (rate(a_bucket{call=~"x|{y}", z!="1"}[5m])))
            / on (call) group_left(z) max(b) > 0.5e3 or vector(0) unless up == 0"#;
        let (found, grouped) = selectors(query);
        let found: Vec<_> = found.iter().map(|s| (s.metric.as_str(), s.labels.join(" "))).collect();
        let wanted = [("a_bucket", "call z"), ("b", ""), ("up", "")];
        assert_eq!(found, wanted.map(|(metric, labels)| (metric, labels.to_owned())));
        assert_eq!(grouped, ["le", "call", "call", "z"]);
    }
}
