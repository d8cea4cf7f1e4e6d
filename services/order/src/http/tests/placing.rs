use super::*;
use futures::{StreamExt, future::join_all, stream};
use std::{convert::Infallible, time::Duration};

#[tokio::test]
async fn an_order_is_placed_and_answered_whole() {
    let bench = Bench::new().await;
    let router = bench.router();
    let answer = ask(&router, post(order().to_string())).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header(header::CONTENT_TYPE), "application/json");
    let placed = answer.json();
    let id = placed["order_id"].as_str().unwrap();
    assert_eq!(answer.header(header::LOCATION), format!("/orders/{id}"));
    assert_eq!(placed["status"], "PENDING");
    assert_eq!(placed["total_amount"].to_string(), "99.80");
    assert_eq!(placed["items"], order()["items"]);
    assert_eq!(placed["tracking_code"], Value::Null);

    let step = &placed["timeline"][0];
    assert_eq!(
        (&step["event"], &step["service"], &step["caused_by"]),
        (&json!("order.created"), &json!("order"), &Value::Null)
    );
    let at = step["at"].as_str().unwrap();
    assert_eq!((at.len(), at.ends_with('Z')), ("2026-01-01T00:00:00.000Z".len(), true));
    assert_eq!(placed["created_at"], step["at"]);
    let mut shown = get(&router, answer.header(header::LOCATION)).await.json();
    let waits_for = shown.as_object_mut().unwrap().remove("waits_for").unwrap();
    assert_eq!(waits_for[0]["service"], "payment");
    assert_eq!(shown, placed, "and nothing else is different");
}

#[tokio::test]
async fn what_is_written_otherwise_and_means_the_same_is_accepted() {
    let router = Bench::new().await.router();
    for quantity in ["2.0", "0.2e1", "2E0"] {
        let mut body = order();
        body["items"][0]["quantity"] = json_number(quantity);
        let placed = ask(&router, post(body.to_string())).await.json();
        assert_eq!(placed["items"], order()["items"], "{quantity}");
    }
    for (price, total) in [("5", "10.00"), ("0.1", "0.20"), ("1e2", "200.00"), ("-0.0", "0.00")] {
        let mut body = order();
        body["items"][0]["unit_price"] = json_number(price);
        body["items"][0]["colour"] = json!("red");
        body["note"] = json!({ "unknown": ["fields", "are", "ignored"] });
        let mut request = post(body.to_string());
        let media_type = "Application/JSON; charset=utf-8".parse().unwrap();
        request.headers_mut().insert(header::CONTENT_TYPE, media_type);
        let answer = ask(&router, request).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{price}: {:?}", answer.body);
        assert_eq!(answer.json()["total_amount"].to_string(), total);
    }
}

#[tokio::test]
async fn a_product_may_stand_on_two_lines() {
    let router = Bench::new().await.router();
    let mut body = order();
    let line = body["items"][0].clone();
    body["items"].as_array_mut().unwrap().push(line);
    let placed = ask(&router, post(body.to_string())).await.json();
    assert_eq!(placed["items"], body["items"]);
    assert_eq!(placed["total_amount"].to_string(), "199.60");
}

#[tokio::test]
async fn what_cannot_be_read_is_a_400() {
    let router = Bench::new().await.router();
    for body in ["", "{", "nonsense", "[]", "null", "{\"customer_id\": \"\u{1}\"}"] {
        ask(&router, post(body)).await.problem(400);
    }
    ask(&router, post(&b"{\"customer_id\":\"\xff\"}"[..])).await.problem(400);

    let wrong_types = [
        ("customer_id", json!(5), "customer_id"),
        ("customer_id", json!("nobody"), "customer_id"),
        ("payment_method", json!(null), "payment_method"),
        ("items", json!({}), "items"),
        ("items", json!([3]), "items[0]"),
    ];
    for (field, value, path) in wrong_types {
        let mut body = order();
        body[field] = value;
        let errors = ask(&router, post(body.to_string())).await.problem(400);
        assert!(errors[path][0].is_string(), "{errors}");
    }
    let wrong_types = [
        ("product_id", json!("5"), "must be a UUID"),
        ("quantity", json!("2"), "must be a number"),
        ("quantity", json_number("1.5"), "must be a whole number"),
        ("quantity", json_number("1e-99"), "must be a whole number"),
        ("quantity", json!(true), "must be a number"),
        ("unit_price", json!("49.90"), "must be a number"),
    ];
    for (field, value, why) in wrong_types {
        let mut body = order();
        body["items"][0][field] = value;
        let errors = ask(&router, post(body.to_string())).await.problem(400);
        assert_eq!(errors[format!("items[0].{field}")][0], why);
    }
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_refused() {
    let router = Bench::new().await.router();
    let body = order().to_string();
    for (once, twice, field) in [
        ("\"quantity\":2", "\"quantity\":2,\"quantity\":3", "items[0].quantity"),
        ("\"items\":", "\"items\":5,\"items\":", "items"),
        ("\"items\":", "\"items\":[-5,1.5,1e99,null,true,\"\"],\"items\":", "items"),
        ("\"payment_method\":", "\"payment_method\":\"pix\",\"payment_method\":", "payment_method"),
    ] {
        let errors = ask(&router, post(body.replace(once, twice))).await.problem(400);
        assert_eq!(errors, json!({ field: ["given twice"] }));
    }
    let ignored = body.replacen('{', "{\"note\":1,\"note\":{\"a\":1,\"a\":2},", 1);
    assert_eq!(ask(&router, post(ignored)).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn another_encoding_is_named() {
    let router = Bench::new().await.router();
    let text = order().to_string();
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in [format!("\u{feff}{text}").into_bytes(), wide] {
        let answer = ask(&router, post(body)).await;
        answer.problem(400);
        let detail = "the body must be UTF-8 without a byte order mark";
        assert_eq!(answer.json()["detail"], detail);
    }
    let latin = "application/json; charset=iso-8859-1";
    for (name, value) in [("content-encoding", "gzip"), ("content-type", latin)] {
        let mut request = post(text.clone());
        request.headers_mut().insert(name, value.parse().unwrap());
        ask(&router, request).await.problem(415);
    }
}

#[tokio::test]
async fn a_refusal_repeats_no_more_than_the_beginning_of_a_value() {
    let router = Bench::new().await.router();
    let mut body = order();
    body["payment_method"] = json!("x".repeat(20_000));
    let answer = ask(&router, post(body.to_string())).await;
    answer.problem(422);
    assert!(answer.body.len() < 1000, "{}", answer.body.len());
}

#[tokio::test]
async fn what_cannot_be_is_a_422() {
    let router = Bench::new().await.router();
    let impossible = [
        ("quantity", "0", "must be at least 1"),
        ("quantity", "-1", "must be at least 1"),
        ("quantity", "1000001", "must be at most 1000000"),
        ("quantity", "-1e99", "must be at least 1"),
        ("quantity", "99999999999999999999", "must be at most 1000000"),
        ("quantity", "1e999999999", "must be at most 1000000"),
        ("unit_price", "-0.01", "must not be negative"),
        ("unit_price", "1.999", "has more than two decimals"),
        ("unit_price", "1e30", "is larger than 99999999999999.99"),
        ("unit_price", "1e999999999", "is larger than 99999999999999.99"),
    ];
    for (field, value, why) in impossible {
        let mut body = order();
        body["items"][0][field] = json_number(value);
        let errors = ask(&router, post(body.to_string())).await.problem(422);
        assert_eq!(errors[format!("items[0].{field}")][0], why, "{value}");
    }
    let mut body = order();
    let is_demo = cfg!(feature = "demo");
    body["payment_method"] = json!(if is_demo { "cash" } else { "card_declined" });
    let errors = ask(&router, post(body.to_string())).await.problem(422);
    let why = errors["payment_method"][0].as_str().unwrap().to_owned();
    assert!(why.contains("credit_card") && why.contains("card_slow") == is_demo, "{why}");

    let mut body = order();
    body["items"][0]["unit_price"] = json_number("99999999999999.99");
    let errors = ask(&router, post(body.to_string())).await.problem(422);
    assert_eq!(errors["items"][0], "the total is larger than 99999999999999.99");

    for (count, why) in [(0, "must have one item at least"), (101, "must have 100 items at most")] {
        let mut body = order();
        body["items"] = json!(vec![body["items"][0].clone(); count]);
        let errors = ask(&router, post(body.to_string())).await.problem(422);
        assert_eq!(errors["items"][0], why);
    }
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let router = Bench::new().await.router();
    let mut body = order();
    body["payment_method"] = json!("cash");
    body["items"] = json!([
        { "product_id": "00000000-0000-0000-0000-000000000001", "quantity": 0, "unit_price": -1 },
        { "product_id": "00000000-0000-0000-0000-000000000001", "quantity": 0, "unit_price": 1 },
    ]);
    let errors = ask(&router, post(body.to_string())).await.problem(422);
    let fields: Vec<_> = errors.as_object().unwrap().keys().collect();
    let expected =
        ["items[0].quantity", "items[0].unit_price", "items[1].quantity", "payment_method"];
    assert_eq!(fields, expected);

    let errors = ask(&router, post("{}")).await.problem(400);
    assert_eq!(errors.as_object().unwrap().len(), 3);
    body["items"] = json!([{ "quantity": 0 }]);
    let errors = ask(&router, post(body.to_string())).await.problem(400);
    assert_eq!(errors.as_object().unwrap().len(), 4);
}

#[tokio::test]
async fn only_json_of_a_bearable_size_is_read() {
    let router = Bench::new().await.router();
    let mut request = post(order().to_string());
    request.headers_mut().remove(header::CONTENT_TYPE);
    ask(&router, request).await.problem(415);
    let mut request = post(order().to_string());
    request.headers_mut().insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
    ask(&router, request).await.problem(415);

    let body = order().to_string();
    let whole = " ".repeat(64 * 1024 - body.len()) + &body;
    assert_eq!(ask(&router, post(whole.clone())).await.status, StatusCode::CREATED);
    ask(&router, post(format!(" {whole}"))).await.problem(413);
    // Without a Content-Length.
    let chunks = stream::iter(0..9).map(|_| Ok::<_, Infallible>(vec![b' '; 8 * 1024]));
    ask(&router, post(Body::from_stream(chunks))).await.problem(413);
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let bench = Bench::new().await;
    let router = bench.router();
    tokio::time::pause();
    let never = stream::pending::<Result<Vec<u8>, Infallible>>();
    let asked = ask(&router, post(Body::from_stream(never)));
    tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap().problem(408);
}

#[tokio::test]
async fn a_repeated_key_gets_the_very_same_answer() {
    let bench = Bench::new().await;
    let router = bench.router();
    let first = ask(&router, post_with_key(&order(), "k")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    // Meanwhile the order has moved on; the answer has not.
    bench.confirm(first.json()["order_id"].as_str().unwrap().parse().unwrap()).await;
    let again = ask(&Bench::on(bench.context.clone()).router(), post_with_key(&order(), "k")).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header(header::LOCATION), first.header(header::LOCATION));

    let mut other = order();
    other["items"][0]["quantity"] = json!(3);
    ask(&router, post_with_key(&other, "k")).await.problem(422);
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
    assert_eq!(bench.count("SELECT count(*) FROM outbox").await, 1);
}

#[tokio::test]
async fn a_refused_order_leaves_its_key_free() {
    let router = Bench::new().await.router();
    let mut bad = order();
    bad["items"] = json!([]);
    ask(&router, post_with_key(&bad, "k")).await.problem(422);
    assert_eq!(ask(&router, post_with_key(&order(), "k")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn forty_at_once_with_one_key_make_one_order() {
    let bench = Bench::new().await;
    let router = bench.router();
    let body = order();
    let answers = join_all((0..40).map(|_| ask(&router, post_with_key(&body, "k")))).await;
    let (placed, busy): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == StatusCode::CREATED);
    assert!(!placed.is_empty());
    assert!(placed.iter().all(|answer| answer.body == placed[0].body));
    for answer in busy {
        answer.problem(409);
        assert_eq!(answer.header(header::RETRY_AFTER), "1");
    }
    assert_eq!(bench.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test]
async fn a_key_has_its_bounds() {
    let router = Bench::new().await.router();
    let longest = "k".repeat(255);
    assert_eq!(ask(&router, post_with_key(&order(), &longest)).await.status, StatusCode::CREATED);
    for key in ["", "\u{e9}", &"k".repeat(256)] {
        ask(&router, post_with_key(&order(), key)).await.problem(400);
    }
    let mut two = post_with_key(&order(), "a");
    two.headers_mut().append("idempotency-key", "b".parse().unwrap());
    ask(&router, two).await.problem(400);
}

#[tokio::test]
async fn a_trace_is_gone_on_with_only_where_it_is_well_formed() {
    let bench = Bench::new().await;
    let router = bench.router();
    let long = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(32 * 1024));
    for traceparent in [&long, "00-\u{e9}", "nonsense", ""] {
        let mut request = post(order().to_string());
        request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
        let placed = ask(&router, request).await;
        assert_eq!(placed.status, StatusCode::CREATED);
        let path = format!("{}/cancel", placed.header(header::LOCATION));
        let cancel = Request::post(path).header("traceparent", traceparent);
        ask(&router, cancel.body(Body::empty()).unwrap()).await;
    }
    assert_eq!(bench.count("SELECT count(*) FROM outbox").await, 8);
    assert_eq!(bench.count("SELECT count(*) FROM outbox WHERE length(trace) <> 55").await, 0);
}
