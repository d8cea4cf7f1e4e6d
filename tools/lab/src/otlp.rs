//! Reads the metrics that a service sends by OTLP.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{NumberDataPoint, metric::Data, number_data_point},
    resource::v1::Resource,
};
use prost::Message;

/// By name.
pub type Attributes = BTreeMap<String, String>;

/// A metric with one set of labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Who sent it, by OpenTelemetry's names.
    pub resource: Attributes,
    pub name: String,
    pub labels: Attributes,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Number(f64),
    Histogram {
        /// The upper bound of each bucket but the last, which has none.
        bounds: Vec<f64>,
        /// The number of values in each bucket.
        counts: Vec<u64>,
        sum: f64,
    },
}

/// The samples of a request's body.
pub fn samples(body: &[u8]) -> Result<Vec<Sample>> {
    let request = ExportMetricsServiceRequest::decode(body).context("it is no OTLP")?;
    let mut samples = Vec::new();
    for sent in request.resource_metrics {
        let resource = resource(sent.resource)?;
        for metric in sent.scope_metrics.into_iter().flat_map(|scope| scope.metrics) {
            let data = metric.data.context("a metric has data")?;
            for (labels, value) in points(data)? {
                let (resource, name) = (resource.clone(), metric.name.clone());
                samples.push(Sample { resource, name, labels, value });
            }
        }
    }
    Ok(samples)
}

fn points(data: Data) -> Result<Vec<(Attributes, Value)>> {
    let numbers = match data {
        Data::Gauge(gauge) => gauge.data_points,
        Data::Sum(sum) => sum.data_points,
        Data::Histogram(histogram) => {
            let points = histogram.data_points.into_iter().map(|point| {
                let (bounds, counts) = (point.explicit_bounds, point.bucket_counts);
                let sum = point.sum.unwrap_or_default();
                Ok((attributes(point.attributes)?, Value::Histogram { bounds, counts, sum }))
            });
            return points.collect();
        }
        other => bail!("{other:?} is no kind of ours"),
    };
    numbers.into_iter().map(number).collect()
}

fn number(point: NumberDataPoint) -> Result<(Attributes, Value)> {
    let value = match point.value.context("a point has a value")? {
        number_data_point::Value::AsDouble(value) => value,
        number_data_point::Value::AsInt(value) => value as f64,
    };
    Ok((attributes(point.attributes)?, Value::Number(value)))
}

pub fn resource(sent: Option<Resource>) -> Result<Attributes> {
    attributes(sent.context("it says who sent it")?.attributes)
}

pub fn attributes(pairs: Vec<KeyValue>) -> Result<Attributes> {
    pairs.into_iter().map(|pair| Ok((pair.key, text(pair.value)?))).collect()
}

fn text(value: Option<AnyValue>) -> Result<String> {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => Ok(text),
        Some(any_value::Value::IntValue(number)) => Ok(number.to_string()),
        other => bail!("{other:?} is no attribute of ours"),
    }
}
